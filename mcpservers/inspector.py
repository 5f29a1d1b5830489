"""The Inspector of a server: choose a tool, fill in its form, call it as oneself. It translates; the page works
without script, and with script calls the server from the browser by the path that agents take.
"""

import json
from typing import Any, cast

from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from mcpservers import tool_answer, tool_form, tool_words
from mcpservers.listing import Offered
from mcpservers.schema_rows import text_of

TAB = "inspector"
PAGE_SIZE = 100
# A longer name is in the list, and can be chosen with script; no address could hold it.
LONGEST_LINKED = 1000
# A definition that is larger is fetched by the script itself.
MAX_DEFINITION = 64 * 1024


def show(request: HttpRequest, offered: Offered) -> HttpResponse:
    """Show the tools, and the form of the one that was chosen."""
    tool = _chosen(offered, request.GET.get("tool", ""))
    return _page(request, offered, tool, form=tool_form.blank(tool.get("inputSchema")) if tool else None)


def call(request: HttpRequest, offered: Offered) -> HttpResponse:
    """Call a tool with what was typed, and show what came of it. Nothing is called while something is missing."""
    from mcpservers.dataplane import local_call  # brings the whole MCP SDK, which nothing else here needs

    tool = _chosen(offered, request.POST.get("tool", ""))
    if tool is None:
        return _page(request, offered, None, form=None, refusal="This server offers no tool of that name.", status=404)
    form, arguments = tool_form.filled(tool_form.blank(tool.get("inputSchema")), request.POST.dict())
    if form.problems:
        return _page(request, offered, tool, form=form, status=400)
    own = request.POST.get("own_credential", "").strip() or None
    user, name = cast(User, request.user), offered.server.name
    try:
        response = local_call.call_tool(user, name, tool["name"], arguments, own)
    except local_call.CallRefused as refused:
        return _page(request, offered, tool, form=form, refusal=refused.detail)
    return _page(request, offered, tool, form=form, answer=tool_answer.answer_of(response))


def _chosen(offered: Offered, name: str) -> dict[str, Any] | None:
    tools = (tool for tool in offered.tools if isinstance(tool, dict) and tool.get("name") == name)
    return next(tools, None) if name else None


def _page(
    request: HttpRequest,
    offered: Offered,
    tool: dict[str, Any] | None,
    *,
    form: tool_form.Form | None,
    status: int = 200,
    **came: Any,
) -> HttpResponse:
    search = request.GET.get("q", "").strip().replace("\0", "")[:150]
    page = Paginator(tool_words.found(offered.tools, search=search), PAGE_SIZE).get_page(request.GET.get("page"))
    definition = json.dumps(tool, ensure_ascii=False, separators=(",", ":")) if tool else ""
    context = {
        "offered": offered,
        "tab": TAB,
        "page": page,
        "listed": [_listed(each, tool) for each in page.object_list],
        "search": search,
        "tool": tool_words.card_of(tool) if tool else None,
        "definition": definition if len(definition) <= MAX_DEFINITION else "",
        "form": form,
        "brings_token": offered.server.mode == "token_passthrough",
        **came,
    }
    return render(request, "mcpservers/inspector.html", context, status=status)


def _listed(each: Any, chosen: Any) -> dict[str, Any]:
    name = text_of(each.get("name"))
    return {
        "name": name,
        "is_linked": 0 < len(name) <= LONGEST_LINKED,
        "is_chosen": each is chosen,
    }
