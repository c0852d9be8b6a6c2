"""The least that Django needs; there is no database."""

SECRET_KEY = "for the example only"
DEBUG = False
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "menu.urls"
MIDDLEWARE = [
    "django.middleware.common.CommonMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
]
INSTALLED_APPS = ["django.contrib.sessions"]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
USE_TZ = True
