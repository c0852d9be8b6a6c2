@app.cosmos_db_trigger(
    arg_name="documents",
    database_name="shop",
    container_name="orders",
    connection="CosmosDBConnection",
    create_lease_container_if_not_exists=True,
)
def NEW_NAME(documents: func.DocumentList) -> None:
    """Runs for documents that are new or have changed."""
    for document in documents:
        logging.info("changed: %s", document["id"])
