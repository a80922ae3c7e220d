"""What the code of a transaction's result means to a person, and what helps. No rules, no IO."""

from __future__ import annotations

from gettext import gettext as _

from node.chain.block import ResultCode


def explain(code: ResultCode) -> tuple[str, str]:
    """Return why a transaction of this result has no effect, and what to do."""
    causes = _of_notarizations() | _of_governance() | _of_the_vault()
    return causes.get(code, (code.name, _("correct what the message names")))


def _of_notarizations() -> dict[ResultCode, tuple[str, str]]:
    return {
        ResultCode.EXPIRED: (
            _("it expired before it was included"),
            _("check this machine's clock, then submit again"),
        ),
        ResultCode.NOT_PERMITTED: (
            _("this identity may not do that"),
            _("sign as an agency to notarize, as an administrator to govern: --as"),
        ),
        ResultCode.IDENTITY_NOT_VALID: (
            _("who asks, or is to be changed, is not valid: expired, frozen, revoked or unknown"),
            _("see what became of it: govchain identity show; then have it renewed or unfrozen"),
        ),
        ResultCode.REFERENCE_IN_FORCE: (
            _("the reference is in force already"),
            _("choose another reference, or replace what is in force: govchain supersede"),
        ),
        ResultCode.REFERENCE_NOT_IN_FORCE: (
            _("nothing is in force under this reference, type and identity"),
            _("look for it: govchain history"),
        ),
    }


def _of_governance() -> dict[ResultCode, tuple[str, str]]:
    again = _("make the proposal again, for the epoch in force")
    rename = _("choose a name that was never used on this chain")
    return {
        ResultCode.EPOCH_NOT_IN_FORCE: (_("it was made for another epoch"), again),
        ResultCode.EPOCH_ENDING: (
            _("another change ended the epoch in the same block"),
            again,
        ),
        ResultCode.APPROVAL_INVALID: (
            _("an approval is of nobody who may give it, or not of these operations"),
            _("have the administrators approve this very proposal, each once"),
        ),
        ResultCode.APPROVALS_MISSING: (
            _("fewer organisations approve than the rule of an operation asks for"),
            _("see the rules: govchain policy show; have more organisations approve"),
        ),
        ResultCode.ORGANISATION_UNKNOWN: (
            _("the organisation named is no member of this chain"),
            _("add the organisation first"),
        ),
        ResultCode.NAME_TAKEN: (_("the name is in use, or was"), rename),
        ResultCode.KEY_TAKEN: (
            _("the validator's key is in use, or was"),
            _("make new keys: none is ever used twice"),
        ),
        ResultCode.KEY_INVALID: (
            _("a key or certificate is malformed, not of whom it is for, or not shown to be held"),
            _("make keys and proofs with this program; certificates by a CA of the organisation"),
        ),
        ResultCode.VALIDATOR_UNKNOWN: (
            _("who is to be removed is no validator"),
            _("see who is: govchain node list"),
        ),
        ResultCode.VALIDATOR_COUNT: (
            _("the validators would be none, or more than 64"),
            _("change fewer of them"),
        ),
        ResultCode.CHANGE_TOO_LARGE: (
            _("too many validators would change at once, or too few be left who can approve"),
            _("change at most as many in one step as may fail; leave enough administrators"),
        ),
        ResultCode.EVIDENCE_INVALID: (
            _("a checkpoint statement is stale, false, or of nobody in the set to be"),
            _("gather the statements again"),
        ),
        ResultCode.EVIDENCE_MISSING: (
            _("too few of the validators to be hold the chain"),
            _("wait until the new validators have caught up, then gather the statements again"),
        ),
    }


def _of_the_vault() -> dict[ResultCode, tuple[str, str]]:
    again = _("look at the document as it is now: govchain vault show; then do it again")
    return {
        ResultCode.VAULT_KEY_NUMBER: (
            _("another encryption key of this identity was registered meanwhile"),
            _("see which one is in force: govchain vault keys"),
        ),
        ResultCode.VAULT_KEY_UNKNOWN: (
            _("a recipient has no encryption key, another one by now, or lost its rights"),
            _("have each recipient register one: govchain vault key; then do it again"),
        ),
        ResultCode.VAULT_ENVELOPE_UNKNOWN: (
            _("the content is sealed by algorithms that this chain does not know"),
            _("seal it with this program, for this chain"),
        ),
        ResultCode.VAULT_DOCUMENT_TAKEN: (
            _("a document of this id is in the vault, or was"),
            _("see it: govchain vault show"),
        ),
        ResultCode.VAULT_DOCUMENT_UNKNOWN: (
            _("no document of this id was ever in the vault"),
            _("see which there are: govchain vault list"),
        ),
        ResultCode.VAULT_DOCUMENT_SHREDDED: (
            _("the document was shredded: nobody can bring it back"),
            _("see when, and by whose order: govchain vault show"),
        ),
        ResultCode.VAULT_VERSION: (
            _("the document has another version by now, or was used meanwhile"),
            again,
        ),
        ResultCode.VAULT_RECIPIENT: (
            _(
                "a recipient is named twice, or has no grant that could be revoked or used: there "
                "is none, or its terms are over"
            ),
            again,
        ),
        ResultCode.VAULT_FULL: (
            _("there would be too many recipients of a document, or keys of an organisation"),
            _("revoke grants that are not needed, or have one identity open it for others"),
        ),
    }
