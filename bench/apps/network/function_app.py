import json

import azure.functions as func
import probe

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="ask", methods=["POST"])
def ask(req: func.HttpRequest) -> str:
    return json.dumps(probe.answer(req.get_json()))
