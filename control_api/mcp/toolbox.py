"""All tools of one server, as its settings have them."""

from __future__ import annotations

from control_api.mcp.management import management_tools
from control_api.mcp.operations import operation_tools
from control_api.mcp.results import Teller
from control_api.mcp.tools import Tool
from control_api.ports import ApiSettings, Service
from handlers.registry import operations


def toolbox(service: Service, settings: ApiSettings) -> list[Tool]:
    """The tools that agents see, in the order in which they see them."""
    inline_bytes = settings.mcp_inline_bytes
    teller = Teller(service, inline_bytes)
    return [
        *management_tools(service, inline_bytes),
        *operation_tools(operations().values(), service, teller),
    ]
