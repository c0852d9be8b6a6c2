"""Products change, and two functions follow the changes."""

import json
import logging

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

SHOP = {"connection": "CosmosDBConnection", "database_name": "shop"}


@app.route(route="products/{product}", methods=["PUT"])
@app.cosmos_db_output(arg_name="document", container_name="products", **SHOP)
def put_product(req: func.HttpRequest, document: func.Out[func.Document]) -> func.HttpResponse:
    try:
        price = float(req.get_json()["price"])
    except (ValueError, TypeError, KeyError):
        return func.HttpResponse("send a price, e.g. {\"price\": 7.5}", status_code=400)
    document.set(func.Document.from_dict({"id": req.route_params["product"], "price": price}))
    return func.HttpResponse(status_code=204)


@app.cosmos_db_trigger(
    arg_name="changes", container_name="products", lease_container_prefix="reprice", start_from_beginning=True, **SHOP)
@app.cosmos_db_output(arg_name="prices", container_name="prices", **SHOP)
def reprice(changes: func.DocumentList, prices: func.Out[func.DocumentList]) -> None:
    """One batch of changes becomes one batch of prices, in one commit with the place in the feed."""
    prices.set(func.DocumentList([
        func.Document.from_dict({"id": change["id"], "price": change["price"]}) for change in changes]))


@app.cosmos_db_trigger(
    arg_name="changes", container_name="products", lease_container_prefix="audit", start_from_beginning=True,
    max_items_per_invocation=10, **SHOP)
@app.queue_output(arg_name="lines", queue_name="audit", connection="AzureWebJobsStorage")
def audit(changes: func.DocumentList, lines: func.Out[str]) -> None:
    logging.info("%d changes", len(changes))
    lines.set(json.dumps([f"{change['id']} costs {change['price']}" for change in changes]))


@app.route(route="prices", methods=["GET"])
@app.cosmos_db_input(
    arg_name="found", container_name="prices",
    sql_query="SELECT c.id AS product, c.price FROM c ORDER BY c.id", **SHOP)
def list_prices(req: func.HttpRequest, found: func.DocumentList) -> func.HttpResponse:
    return func.HttpResponse(json.dumps([dict(row) for row in found]), mimetype="application/json")
