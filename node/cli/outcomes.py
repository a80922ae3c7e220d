"""What the code of a transaction's result means to a person, and what helps. No rules, no IO."""

from __future__ import annotations

from gettext import gettext as _

from node.chain.block import ResultCode


def explain(code: ResultCode) -> tuple[str, str]:
    """Return why a transaction of this result, any but OK, has no effect, and what to do."""
    causes = _of_notarizations() | _of_rights() | _of_governance() | _of_the_vault()
    return causes[code]


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
        ResultCode.REFERENCE_IN_FORCE: (
            _("the reference is in force already"),
            _("choose another reference, or replace what is in force: govchain supersede"),
        ),
        ResultCode.REFERENCE_NOT_IN_FORCE: (
            _("nothing is in force under this reference, type and identity"),
            _("look for it: govchain history"),
        ),
        ResultCode.DIGEST_ALGORITHM_UNKNOWN: (
            _("the digest is of an algorithm that this chain does not know"),
            _("hash documents with this program"),
        ),
        ResultCode.REFERENCE_MISSING: (
            _("superseding or withdrawing needs a reference, and none is named"),
            _("name the reference: --reference"),
        ),
    }


def _of_rights() -> dict[ResultCode, tuple[str, str]]:
    for_good = _("see why: govchain identity history; register a new identity instead")
    return {
        ResultCode.IDENTITY_NOT_VALID: (
            _("the certificate of who asks is not valid yet, or no longer"),
            _("see until when: govchain identity show; then have it renewed"),
        ),
        ResultCode.IDENTITY_UNKNOWN: (
            _("who is to be changed is no identity of this chain"),
            _("see who is: govchain identity list"),
        ),
        ResultCode.IDENTITY_FROZEN: (
            _("who asks, joins or is to be renewed is frozen"),
            _("see why: govchain identity history; then have it unfrozen"),
        ),
        ResultCode.IDENTITY_REVOKED: (
            _("who asks, joins or is to be renewed is revoked, for good"),
            for_good,
        ),
        ResultCode.ORGANISATION_FROZEN: (
            _("the organisation of who asks, joins or is to be renewed is frozen"),
            _("see why: govchain org show; then have it unfrozen"),
        ),
        ResultCode.ORGANISATION_REVOKED: (
            _("the organisation of who asks or is to be changed is revoked, for good"),
            _("see why: govchain org show; only another organisation can be added instead"),
        ),
        ResultCode.STATUS_NOT_NEXT: (
            _("it is so already, or cannot become so: who is revoked stays revoked"),
            _("see what became of it: govchain identity history"),
        ),
        ResultCode.NOBODY_COULD_APPROVE: (
            _("afterwards nobody could approve something vital any more, as unfreezing"),
            _("leave enough administrators for the rules: govchain policy show"),
        ),
        ResultCode.ROLL_FULL: (
            _("as many organisations, or administrators, were admitted as this chain takes"),
            _("renew one that is there: govchain identity rotate"),
        ),
        ResultCode.CERTIFICATE_INVALID: (
            _("the certificate is malformed, of somebody else, not valid now or of another CA"),
            _("have a CA of the organisation issue one: node/operations/rights.md says how"),
        ),
        ResultCode.AUTHORITY_INVALID: (
            _("a CA's certificate is malformed, or may not sign certificates on this chain"),
            _("see what a CA's certificate has to be like: node/operations/rights.md"),
        ),
        ResultCode.AUTHORITY_NOT_FOR_TLS: (
            _("nobody certified by these CAs could connect: TLS takes no SM2 signature"),
            _("name a CA of P-256, P-384 or RSA as well"),
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
        ResultCode.ALREADY_CARRIED_OUT: (
            _("what was approved has been carried out already: approvals serve once"),
            _("see what is in force; to do it again, make a proposal anew and have it approved"),
        ),
        ResultCode.PROPOSAL_LAPSED: (
            _("it has lapsed, by the end that was approved with it, or that is over 90 days off"),
            _("make the proposal anew, with --valid-days for the time it takes; have it approved"),
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
            _("a key is malformed, or not shown to be held"),
            _("make keys and proofs with this program"),
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
            _("too many validators would change at once"),
            _("change at most as many in one step as may fail"),
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
    of_document = _of_documents(again)
    return of_document | {
        ResultCode.VAULT_ROLE: (
            _("this role never does that in the vault, whatever the rules say"),
            _("sign as an agency, or to read as an agency, auditor or administrator: --as"),
        ),
        ResultCode.VAULT_KEY_NUMBER: (
            _("another encryption key of this identity was registered meanwhile"),
            _("see which one is in force: govchain vault keys"),
        ),
        ResultCode.VAULT_KEY_UNKNOWN: (
            _("a recipient never registered an encryption key"),
            _("have each recipient register one: govchain vault key; then do it again"),
        ),
        ResultCode.VAULT_KEY_INVALID: (
            _("the encryption key is malformed, or not of this chain's algorithms"),
            _("have this program make it: govchain vault key"),
        ),
        ResultCode.VAULT_KEY_NOT_IN_FORCE: (
            _("a recipient has another encryption key by now"),
            _("do it again: it is sealed for the newest one then"),
        ),
        ResultCode.VAULT_KEYS_FULL: (
            _("so many identities of this organisation hold encryption keys as may"),
            _("have one identity open it for others"),
        ),
        ResultCode.VAULT_ENVELOPE_UNKNOWN: (
            _("the content is sealed by algorithms that this chain does not know"),
            _("seal it with this program, for this chain"),
        ),
        ResultCode.VAULT_RECIPIENT_TWICE: (
            _("a recipient is named twice"),
            _("name each recipient once"),
        ),
        ResultCode.VAULT_RECIPIENT_UNKNOWN: (
            _("a recipient is no identity of this chain"),
            _("see who is: govchain identity list"),
        ),
        ResultCode.VAULT_RECIPIENT_BARRED: (
            _("a recipient, or its organisation, is frozen or revoked"),
            _("see why: govchain identity history; leave it out, or have it unfrozen"),
        ),
        ResultCode.VAULT_RECIPIENTS_FULL: (
            _("there would be too many recipients of a document"),
            _("revoke grants that are not needed, or have one identity open it for others"),
        ),
        ResultCode.VAULT_GRANT_UNKNOWN: (
            _("who is to lose a grant has none"),
            again,
        ),
        ResultCode.VAULT_NOT_AUTHORISED: (
            _("this identity was not authorised to use the document, or no longer is"),
            _("ask its owner: govchain vault authorise"),
        ),
        ResultCode.VAULT_TERMS_OVER: (
            _("the terms are over: their last moment has passed"),
            _("ask the owner for new ones: govchain vault authorise --until"),
        ),
        ResultCode.VAULT_USED_MEANWHILE: (
            _("this identity used the document meanwhile: each use names the one before"),
            again,
        ),
    }


def _of_documents(again: str) -> dict[ResultCode, tuple[str, str]]:
    return {
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
            _("the document has another version by now"),
            again,
        ),
        ResultCode.VAULT_DOCUMENT_FOREIGN: (
            _("another organisation owns the document"),
            _("have an agency of its owner do it; see who that is: govchain vault show"),
        ),
        ResultCode.VAULT_DOCUMENT_TOO_LARGE: (
            _("the recipients and their terms would exceed what one document may hold on chain"),
            _("shorten purposes and fields, or revoke grants that are not needed"),
        ),
    }
