"""An action of Apache OpenWhisk, served as a web action."""


def main(args):
    name = args.get("name", "world")
    if name == "nobody":
        return {"error": {"statusCode": 404, "body": {"message": "nobody is here"}}}
    if args["__ow_method"] == "put":
        return {"statusCode": 201, "headers": {"X-Path": args["__ow_path"], "Set-Cookie": ["a=1", "b=2"]}, "body": {"put": name}}
    return {"body": "<h1>Hello %s</h1>" % name}
