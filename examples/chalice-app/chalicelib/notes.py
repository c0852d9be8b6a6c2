from chalice import Blueprint

notes = Blueprint(__name__)
KEPT = []


@notes.route("/", methods=["GET", "POST"])
def index():
    request = notes.current_request
    if request.method == "POST":
        KEPT.append(request.json_body["text"])
    return KEPT
