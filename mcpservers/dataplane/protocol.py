"""Headers that repeat the body must agree with it: a gateway that reads the one and forwards both has to check.

MCP 2026-07-28, Streamable HTTP, "Server Validation": 400 and -32020 (HeaderMismatch) otherwise.
"""

from mcp.shared.inbound import decode_header_value
from mcp_types import PROTOCOL_VERSION_META_KEY

from mcpservers.dataplane.exchange import Exchange
from mcpservers.dataplane.jsonrpc import Message


def header_mismatch(message: Message, exchange: Exchange) -> str:
    """Return which routing header contradicts the body, or "". Names are not checked where the body has none."""
    method = exchange.header("mcp-method")
    if method and method != message.method:
        return "Mcp-Method names another method than the body."
    name = exchange.header("mcp-name")
    if name and message.name is not None and decode_header_value(name) != message.name:
        return "Mcp-Name names something else than the body."
    if not message.is_modern:
        return ""
    version = exchange.header("mcp-protocol-version")
    if version and version != message.params["_meta"][PROTOCOL_VERSION_META_KEY]:
        return "MCP-Protocol-Version names another revision than the body."
    return ""
