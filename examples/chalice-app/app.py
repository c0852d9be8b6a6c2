import os

from chalice import Chalice, CORSConfig, NotFoundError, Rate, Response
from chalicelib.notes import notes

app = Chalice(app_name="shop")
app.register_blueprint(notes, url_prefix="/notes")

ITEMS = {"1": "bread", "2": "butter"}


@app.middleware("http")
def stamp(event, get_response):
    response = get_response(event)
    response.headers["x-shop"] = os.environ["SHOP"]
    return response


@app.route("/items")
def items():
    return {"items": ITEMS, "query": app.current_request.query_params}


@app.route("/items/{number}", methods=["GET", "PUT"], cors=CORSConfig(allow_origin="https://shop.example", max_age=60))
def item(number):
    request = app.current_request
    if request.method == "PUT":
        ITEMS[number] = request.json_body["name"]
    if number not in ITEMS:
        raise NotFoundError("no item %s" % number)
    return {"number": number, "name": ITEMS[number]}


@app.route("/broken")
def broken():
    raise ValueError("nobody hears of this")


@app.route("/picture", methods=["POST"], content_types=["image/png"])
def picture():
    return Response(body=app.current_request.raw_body[::-1], headers={"Content-Type": "image/png"})


@app.authorizer()
def only_ada(request):
    from chalice import AuthResponse

    return AuthResponse(routes=["*"] if request.token == "ada" else [], principal_id="ada")


@app.route("/secret", authorizer=only_ada)
def secret():
    return {"secret": True}


@app.lambda_function(name="count")
def count_items(event, context):
    return {"count": len(ITEMS), "add": event.get("add"), "memory": context.memory_limit_in_mb}


@app.schedule(Rate(1, unit=Rate.HOURS))
def hourly(event):
    print("an hour has passed:", event.time)


@app.on_sqs_message(queue="orders", batch_size=5)
def take(event):
    for record in event:
        print("order", record.body)


@app.on_sns_message(topic="news")
def told(event):
    print("news:", event.subject, event.message)
