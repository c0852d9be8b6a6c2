from django.http import HttpResponse, JsonResponse


def dish(request, name):
    return JsonResponse({"name": name, "sizes": request.GET.getlist("size"), "path": request.path})


def order(request):
    return HttpResponse(request.body[::-1], content_type="application/octet-stream", status=201)


def visits(request):
    """Counts in a signed cookie, and sets a second one."""
    request.session["visits"] = request.session.get("visits", 0) + 1
    response = JsonResponse({"visits": request.session["visits"]})
    response.set_cookie("theme", "dark")
    return response


def broken(request):
    raise RuntimeError("the oven is cold")
