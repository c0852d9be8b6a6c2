"""A Django project as one function, through its WSGI application."""

import azure.functions as func

from menu.wsgi import application

app = func.WsgiFunctionApp(app=application, http_auth_level=func.AuthLevel.ANONYMOUS)
