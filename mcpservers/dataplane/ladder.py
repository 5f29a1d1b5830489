"""How a missing consent reaches the user, best first, by what the client declared (contract §6)."""

from mcpservers.dataplane import consent_offer, elicitation, input_required, jsonrpc
from mcpservers.dataplane.credentials import Credential
from mcpservers.dataplane.elicitation import URL_ELICITATION_REQUIRED, Declined
from mcpservers.dataplane.jsonrpc import Failure, Message
from mcpservers.dataplane.sessions import Session
from mcpservers.dataplane.visit import Visit


async def offer(
    visit: Visit, message: Message, session: Session | None, failure: Failure, *, asked: int = 0
) -> Credential | None:
    """Offer consent on the best rung that this caller can take; `asked` counts the questions of earlier rounds.

    Returns the credential when the call may go on, on the event stream that has begun; None when it was answered.
    Raises `failure` where only the last rung is left.
    """
    plan, caller = visit.plan, visit.caller
    is_useless = plan.consent_delivery != "auto" or elicitation.ended(failure) or asked >= input_required.MAX_QUESTIONS
    is_modern = input_required.is_declared(message)
    if is_useless or not (is_modern or elicitation.is_declared(session)):
        raise failure
    link = await consent_offer.authorize_url(plan, caller)
    if link is None:
        raise failure
    if is_modern:
        question = input_required.offer(message, plan, caller, link=link, text=failure.message, asked=asked)
        data = consent_offer.error_data(failure, plan, link)
        result = {**question, "_meta": {consent_offer.META_KEY: data}}
        await visit.exchange.answer(200, jsonrpc.result(message.id, result))
        return None
    assert session is not None  # noqa: S101 - only a session can have declared it
    return await _in_session(visit, message, session, failure, link)


async def _in_session(
    visit: Visit, message: Message, session: Session, failure: Failure, link: str
) -> Credential | None:
    params = elicitation.offer(session, link, failure.message)
    if elicitation.reads_streams(visit.exchange):
        try:
            return await elicitation.ask(visit.exchange, session, visit.plan, visit.caller, params)
        except Declined:
            pass
    data = {**consent_offer.error_data(failure, visit.plan, link), "elicitations": [params]}
    text = f"{failure.message} Open this link in a browser: {link}"
    error = jsonrpc.error(message.id, URL_ELICITATION_REQUIRED, text, data)
    if visit.exchange.is_event_stream:
        await visit.exchange.write(elicitation.event(error), more=False)
    else:
        await visit.exchange.answer(200, error, [(b"mcp-session-id", session.id.encode())])
    return None
