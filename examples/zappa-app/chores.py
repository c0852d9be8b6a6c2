"""What events start. As with Zappa, a function takes event and context, the event alone, or nothing."""


def sweep(event):
    print("swept the %s room" % event["kwargs"]["room"])
    return event["kwargs"]


def brew(event, context):
    pots = [record["body"] for record in event["Records"]]
    print("brewed %s" % ", ".join(pots))
