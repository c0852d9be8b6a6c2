from django.urls import path

from . import views

urlpatterns = [
    path("dishes/<str:name>/", views.dish),
    path("orders/", views.order),
    path("visits/", views.visits),
    path("broken/", views.broken),
]
