"""All tools of one server, as its settings have them."""

from __future__ import annotations

from control_api.mcp.compact import compact_tools
from control_api.mcp.management import management_tools
from control_api.mcp.operations import OperationTool, operation_tools
from control_api.mcp.results import Teller
from control_api.mcp.tools import Tool
from control_api.ports import ApiSettings, Service
from control_api.workflow import pipeline_fields, preset_fields
from handlers.registry import operations


def toolbox(service: Service, settings: ApiSettings) -> list[Tool]:
    """The tools that agents see, in the order in which they see them."""
    teller = Teller(service)
    chains = [
        OperationTool(fields, service, teller)
        for fields in (preset_fields(service), pipeline_fields())
    ]
    managing = management_tools(service, settings.mcp_inline_bytes)
    if settings.mcp_tools == "compact":
        return [*managing, *compact_tools(operations(), chains, service, teller)]
    return [
        *managing,
        *(chain.tool(str(chain.op.tool)) for chain in chains),
        *operation_tools(operations().values(), service, teller),
    ]
