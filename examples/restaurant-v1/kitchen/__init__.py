"""Cooks one order after the other."""

import logging

import azure.functions as func

from ..shared_code import orders


def cook(ticket: func.QueueMessage, document: func.Out[func.Document]) -> None:
    order = ticket.get_json()
    order["status"] = "prepared"
    order["preparedAt"] = orders.now()
    document.set(func.Document.from_dict(order))
    logging.info("%d x %s for %s is ready", order["quantity"], order["dish"], order["customer"])
