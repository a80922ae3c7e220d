"""What each stable error code means, how the command ends for it, and what to do: in one table.

The messages of errors say what was expected and what was got, in English, where they are raised.
This table says in the user's language what that amounts to: it holds the messages as they are
written, and each is translated when it is asked for. Codes are never reused.
"""

from __future__ import annotations

from dataclasses import dataclass
from gettext import gettext as _
from typing import Final

from node.cli.exit_codes import ExitCode

DEFECT_CODE: Final = "GC-9001"


@dataclass(frozen=True, slots=True)
class Remedy:
    """One row."""

    exit_code: ExitCode
    english_summary: str
    english_fix: str

    @property
    def summary(self) -> str:
        """Return what it amounts to, in the user's language."""
        return _(self.english_summary)

    @property
    def fix(self) -> str:
        """Return what to do, in the user's language."""
        return _(self.english_fix)


def remedy_of(code: str) -> Remedy:
    """Return the row of a code; the row of a defect for one that is not known."""
    return REMEDIES.get(code, REMEDIES[DEFECT_CODE])


def N_(message: str) -> str:  # noqa: N802 - the name that catalogue tools look for
    """Mark a message for the catalogues, and leave it as it is."""
    return message


_USAGE, _UNAVAILABLE = ExitCode.USAGE, ExitCode.UNAVAILABLE
_REFUSED, _FAILED = ExitCode.REFUSED, ExitCode.NOT_VERIFIED
_ROWS: Final = (
    ("GC-1001", _USAGE, N_("data is not in its canonical form"), N_("get the file again")),
    ("GC-1002", _USAGE, N_("a key or certificate cannot be used"), N_("check the key files")),
    ("GC-1003", _FAILED, N_("a certificate does not hold"), N_("get the data from elsewhere")),
    ("GC-1004", _FAILED, N_("a proof does not hold"), N_("get the data from elsewhere")),
    ("GC-2001", _USAGE, N_("the request cannot be served"), N_("correct the request")),
    ("GC-2002", _USAGE, N_("a setting cannot be used"), N_("correct the named field")),
    ("GC-2101", _USAGE, N_("there is no network here"), N_("make one: govchain testnet up")),
    (
        "GC-2102",
        _USAGE,
        N_("the folder holds something else than a whole network"),
        N_("look into it, or name another folder with --home"),
    ),
    (
        "GC-2103",
        _USAGE,
        N_("the folder cannot be made"),
        N_("check the rights and the space where it is to be"),
    ),
    ("GC-2104", _USAGE, N_("no free ports"), N_("stop what holds the ports, or change --host")),
    (
        "GC-2105",
        _USAGE,
        N_("another command is changing this network"),
        N_("wait until it has finished, then try again"),
    ),
    (
        "GC-2106",
        _UNAVAILABLE,
        N_("too few validators serve"),
        N_("mend what the log of the node says, then run again: govchain testnet up"),
    ),
    (
        "GC-2107",
        _USAGE,
        N_("the record of a process is damaged"),
        N_("stop the node if it runs, then remove its node.pid"),
    ),
    (
        "GC-2108",
        _USAGE,
        N_("a validator's folder is not whole"),
        N_("restore it; what is lost for ever is replaced by new keys: govchain node rotate"),
    ),
    (
        "GC-2201",
        _REFUSED,
        N_("the certificate gives no access"),
        N_("use the certificate of a member that is valid now: --as names another identity"),
    ),
    (
        "GC-2020",
        _REFUSED,
        N_("no time stamp was given"),
        N_("correct what the message names, or ask again later or at another validator"),
    ),
    (
        "GC-2202",
        _USAGE,
        N_("the validators serve another chain"),
        N_("use the profile of the chain you mean"),
    ),
    (
        "GC-2203",
        ExitCode.NO_SUCH_RECORD,
        N_("there is no such record"),
        N_("check what you asked for"),
    ),
    (
        "GC-2204",
        _UNAVAILABLE,
        N_("a port is in use"),
        N_("stop what holds it; govchain testnet up finds free ports by itself"),
    ),
    (
        "GC-2205",
        _UNAVAILABLE,
        N_("no validator answers"),
        N_("see that the network runs: govchain testnet status"),
    ),
    ("GC-2206", _REFUSED, N_("the validators refused it"), N_("correct what the message names")),
    (
        "GC-2207",
        ExitCode.NOT_FINAL,
        N_("accepted, but not final yet"),
        N_("fetch the receipt later: govchain receipt fetch"),
    ),
    (
        "GC-2208",
        _UNAVAILABLE,
        N_("the validator is still fetching the past"),
        N_("ask another validator, or wait: govchain node health says how far it is"),
    ),
    (
        "GC-2209",
        _UNAVAILABLE,
        N_("the validator takes no requests for time stamps"),
        N_("ask another one; it needs tsa.pem and timestamp_identity to take them"),
    ),
    (
        "GC-2210",
        _UNAVAILABLE,
        N_("the validator has pruned these transactions"),
        N_("ask another validator, or look into an archive of these blocks"),
    ),
    (
        "GC-2211",
        _UNAVAILABLE,
        N_("the validators do not say the same"),
        N_(
            "ask again: an epoch may have begun just now; if it stays so, look into the validator "
            "that differs: govchain doctor"
        ),
    ),
    (
        "GC-2220",
        ExitCode.SOME_FAILED,
        N_("a validator's clock is unfit"),
        N_("mend the clock of the validator named: govchain doctor says what is wrong with it"),
    ),
    ("GC-2301", _USAGE, N_("input cannot be read"), N_("check the path and its rights")),
    ("GC-2302", ExitCode.SOME_FAILED, N_("some items failed"), N_("see the items listed")),
    ("GC-2303", _USAGE, N_("wrong usage"), N_("see --help")),
    ("GC-2304", _USAGE, N_("there is nothing to notarize"), N_("name at least one file")),
    (
        "GC-2305",
        _FAILED,
        N_("a validator gave a receipt that does not verify"),
        N_("fetch it from another validator, and look into this one"),
    ),
    (
        "GC-2306",
        _USAGE,
        N_("output cannot be written"),
        N_("check the rights and the space where it is to be"),
    ),
    (
        "GC-2307",
        _REFUSED,
        N_("the chain refused it"),
        N_("correct what the message names, then submit again"),
    ),
    (
        "GC-2308",
        _USAGE,
        N_("the trust file cannot be used"),
        N_("get it again from someone you trust: govchain trust export makes one"),
    ),
    ("GC-2309", _FAILED, N_("not verified"), N_("see the step that failed")),
    (
        "GC-2310",
        ExitCode.NOT_ROOTED,
        N_("not rooted in the trust file"),
        N_("use the trust file of the receipt's chain"),
    ),
    (
        "GC-2311",
        _USAGE,
        N_("no secret to open the key"),
        N_("set GOVCHAIN_PASSPHRASE, or name a key_file in the settings"),
    ),
    ("GC-2312", _FAILED, N_("withdrawn"), N_("ask the issuer which record is in force")),
    ("GC-2313", ExitCode.INTERRUPTED, N_("interrupted"), N_("run it again")),
    ("GC-2315", _UNAVAILABLE, N_("the node does not serve"), N_("wait, or see what its log says")),
    (
        "GC-2316",
        _FAILED,
        N_("a ledger is damaged"),
        N_("move the folder data of that validator away and start it: the others rebuild it"),
    ),
    (
        "GC-2317",
        _FAILED,
        N_("the evidence proves nothing"),
        N_("accuse nobody by it; get the file again from a validator that holds it"),
    ),
    (
        "GC-2318",
        _REFUSED,
        N_("this network is not to be disturbed"),
        N_("disturb only networks that are for trials: govchain testnet up makes one"),
    ),
    (
        "GC-2319",
        _FAILED,
        N_("the network did not do what was expected"),
        N_("look into it: govchain doctor, and the logs of the validators"),
    ),
    (
        "GC-2320",
        _REFUSED,
        N_("the change would endanger the quorum"),
        N_("start the validators that are missing, wait until they hold the chain, then try again"),
    ),
    (
        "GC-2321",
        _REFUSED,
        N_("too few founding organisations approve"),
        N_("have administrators of more organisations approve: --propose, then --approve"),
    ),
    (
        "GC-2322",
        _USAGE,
        N_("the proposal cannot be used"),
        N_("get the file again from who made it, unchanged, or have it made again: --propose"),
    ),
    (
        "GC-2323",
        _UNAVAILABLE,
        N_("the new node has not caught up"),
        N_("see what its log says; then run the same command again: it goes on where it was"),
    ),
    (
        "GC-2324",
        _USAGE,
        N_("the introduction cannot be used"),
        N_("get introduction.json again, unchanged, from who made it: govchain node init"),
    ),
    (
        "GC-2325",
        _UNAVAILABLE,
        N_("the quota of the organisation is used up"),
        N_("wait as long as is said; see the quota: govchain org show ORGANISATION"),
    ),
    (
        "GC-2326",
        _USAGE,
        N_("what is to found a chain cannot be used"),
        N_("get the file again, unchanged, from who made it"),
    ),
    (
        "GC-2340",
        _REFUSED,
        N_("the receipt lacks what this format needs"),
        N_("choose another format, or fetch the receipt again"),
    ),
    (
        "GC-2341",
        _USAGE,
        N_("what sets PDF certificates is not installed"),
        N_("install it, in govchain's folder: .venv/bin/pip install -e '.[pdf]'"),
    ),
    (
        "GC-2342",
        _USAGE,
        N_("a library is missing here that this chain needs"),
        N_(
            "install pyblst, in govchain's folder: .venv/bin/pip install -e '.[bls]'; or for "
            "verification alone py-ecc"
        ),
    ),
    (
        "GC-2343",
        ExitCode.SOME_FAILED,
        N_("the page of a certificate is not that of its proof"),
        N_(
            "show nobody the page: rely on what was attested, or export the receipt anew "
            "(govchain receipt export). A file that was only signed or annotated since is told so "
            "too"
        ),
    ),
    (
        "GC-2350",
        ExitCode.NO_SUCH_RECORD,
        N_("nothing was ever recorded"),
        N_("check issuer, type and reference, letter by letter"),
    ),
    (
        "GC-2351",
        _FAILED,
        N_("the proof is older than asked for"),
        N_("get a new one: govchain record status --prove"),
    ),
    (
        "GC-2360",
        _FAILED,
        N_("a log was forked"),
        N_("show the proof to whoever runs the chain, and to other witnesses"),
    ),
    (
        "GC-2361",
        _UNAVAILABLE,
        N_("the log cannot be read where it was said to be"),
        N_("check the URL, and that the node serves HTTP (http_address in node.toml)"),
    ),
    (
        "GC-2362",
        _FAILED,
        N_("this proves no fork"),
        N_("accuse nobody by it; get the file again from the witness"),
    ),
    (
        "GC-2370",
        _UNAVAILABLE,
        N_("a time-stamping authority gives no answer"),
        N_("check its URL, and that it can be reached from here"),
    ),
    (
        "GC-2371",
        _REFUSED,
        N_("what the authority answers is no stamp that counts"),
        N_("ask the authority for its certificates and policy of today, and add it anew"),
    ),
    (
        "GC-2372",
        _UNAVAILABLE,
        N_("the newest anchor is old, or there is none"),
        N_("see that it runs: govchain anchor run ANCHORS"),
    ),
    (
        "GC-2373",
        ExitCode.NO_SUCH_RECORD,
        N_("no anchor covers the record"),
        N_("wait for the next one, or make one: govchain anchor run ANCHORS --once --newest"),
    ),
    (
        "GC-2380",
        ExitCode.INTERRUPTED,
        N_("a measurement took too long"),
        N_("allow more, or measure less: --limit-minutes, --seconds, --runs"),
    ),
    (
        "GC-2381",
        _USAGE,
        N_("not the result of a measurement"),
        N_("give what a round of govchain bench printed with --json"),
    ),
    (
        "GC-2382",
        _UNAVAILABLE,
        N_("nothing became final under load"),
        N_("measure fewer validators (--nodes), less at once (--batch, --outstanding), or longer"),
    ),
    (
        "GC-2384",
        _UNAVAILABLE,
        N_("there are no hash kernels here"),
        N_("in govchain's folder: .venv/bin/pip install -e '.[kernels]'"),
    ),
    (
        "GC-2352",
        _FAILED,
        N_("the audit found what must not be"),
        N_("keep the report; ask other validators for the same blocks: govchain block show"),
    ),
    (
        "GC-2601",
        _UNAVAILABLE,
        N_("the node keeps nothing of the document"),
        N_("ask a node of an organisation that it is granted to: govchain vault show"),
    ),
    (
        "GC-2602",
        _UNAVAILABLE,
        N_("the store of the vault takes nothing"),
        N_(
            "make room: vault.max_gib in node.toml, the disk, documents to shred; or have the "
            "store of vault.url let the node read, write, list and delete"
        ),
    ),
    (
        "GC-2603",
        _FAILED,
        N_("a part of the document is damaged or missing"),
        N_("have the nodes check and fetch it again: govchain vault check"),
    ),
    (
        "GC-2604",
        _REFUSED,
        N_("the document was shredded"),
        N_("nobody can bring it back; its tombstone says who ordered it: govchain vault show"),
    ),
    (
        "GC-2605",
        _REFUSED,
        N_("the document is not granted"),
        N_("ask the owner for it: govchain vault grant"),
    ),
    (
        "GC-2606",
        _USAGE,
        N_("a recipient cannot be granted documents"),
        N_("have the recipient run govchain vault key; name it as ORGANISATION:IDENTITY"),
    ),
    (
        "GC-2607",
        ExitCode.NO_SUCH_RECORD,
        N_("there is no such document in the vault"),
        N_("see which there are: govchain vault list"),
    ),
    (
        "GC-2608",
        _USAGE,
        N_("the file changed while it was put"),
        N_("put it again once nobody writes to it"),
    ),
    (
        "GC-2609",
        _USAGE,
        N_("no node of this organisation is known"),
        N_("add one to the endpoints of the profile: it keeps what this organisation puts"),
    ),
    (
        "GC-2610",
        _FAILED,
        N_("the disclosure does not hold"),
        N_("get it again from who disclosed it"),
    ),
    (
        "GC-2611",
        _USAGE,
        N_("a field cannot be shown"),
        N_("see which can: govchain disclose show"),
    ),
    (
        "GC-2612",
        _USAGE,
        N_("it would name a person to all who read the chain, for good"),
        N_("commit to it under a salt: govchain disclose commit; refer to it by a case number"),
    ),
    (
        "GC-2613",
        _REFUSED,
        N_("the authorisation is over"),
        N_("ask the owner for another one: govchain vault authorise"),
    ),
    (
        "GC-2614",
        _REFUSED,
        N_("no use of the document is on chain"),
        N_("read it by govchain vault get, which puts that there"),
    ),
    (
        "GC-2615",
        _USAGE,
        N_("it cannot be marked"),
        N_("give a PDF that is not encrypted, or a PNG or JPEG of 256 x 256 pixels at least"),
    ),
    (
        "GC-2616",
        ExitCode.NO_SUCH_RECORD,
        N_("no mark was found"),
        N_("give the statements of the copies that were handed out"),
    ),
    (
        "GC-2701",
        _REFUSED,
        N_("the gateway does not know who asks"),
        N_("sign the request anew by a key that is registered: govchain gateway app add"),
    ),
    (
        "GC-2702",
        _REFUSED,
        N_("the application may not do that"),
        N_("have the operator give it the right: govchain gateway app add"),
    ),
    (
        "GC-2703",
        _UNAVAILABLE,
        N_("too many requests"),
        N_("come back after the time that Retry-After names"),
    ),
    (
        "GC-2704",
        _USAGE,
        N_("the idempotency key cannot be used so"),
        N_("make a new key for each request, and repeat a request under its own"),
    ),
    (
        "GC-2706",
        _USAGE,
        N_("the folder cannot be that of a gateway"),
        N_("name an empty folder, or one that govchain gateway init made"),
    ),
    (
        "GC-2707",
        _UNAVAILABLE,
        N_("a webhook was not taken"),
        N_("see that its receiver answers 2xx; it is brought again until then"),
    ),
    (
        "GC-2708",
        _FAILED,
        N_("a security log is not what was written"),
        N_("keep the folder as it is, and find out who could write there"),
    ),
    ("GC-3001", _UNAVAILABLE, N_("the disk refused"), N_("check path, rights and disk")),
    (
        "GC-3002",
        _USAGE,
        N_("in use by a running process"),
        N_("stop that process, or use another folder and key"),
    ),
    (
        "GC-3003",
        _UNAVAILABLE,
        N_("the database is damaged"),
        N_("move it away; it is rebuilt from the other validators"),
    ),
    (
        "GC-3004",
        _UNAVAILABLE,
        N_("the disk is full"),
        N_("free space, then start again; nothing synced is lost"),
    ),
    (
        "GC-3005",
        _UNAVAILABLE,
        N_("the log is missing"),
        N_("put it back; if it is lost, vote again only under a new key: govchain node rotate"),
    ),
    (
        "GC-3006",
        _UNAVAILABLE,
        N_("the log is damaged"),
        N_("keep it for examination; vote again only under a new key: govchain node rotate"),
    ),
    (
        "GC-3007",
        _UNAVAILABLE,
        N_("the log is another validator's"),
        N_("point the node at its own folder"),
    ),
    ("GC-3008", _USAGE, N_("a log exists already"), N_("start the node as it is")),
    (
        "GC-3009",
        _UNAVAILABLE,
        N_("the log has another format"),
        N_("run the version that wrote it"),
    ),
    (
        "GC-3010",
        _UNAVAILABLE,
        N_("the database has another format"),
        N_("run the version that wrote it"),
    ),
    (
        "GC-3011",
        _UNAVAILABLE,
        N_("the database is another chain's"),
        N_("point the node at its own folder"),
    ),
    (
        "GC-3012",
        _UNAVAILABLE,
        N_("the log is older than the database"),
        N_("put the newest back; if it is lost, take a new key: govchain node rotate"),
    ),
    (
        "GC-3013",
        _UNAVAILABLE,
        N_("another engine made the database"),
        N_("let storage.engine in node.toml be auto, or move the folder away: it is made again"),
    ),
    (
        "GC-3014",
        _UNAVAILABLE,
        N_("the engine of the database is not installed"),
        N_("install it, as the extra [leveldb] or [rocksdb] of govchain"),
    ),
    (DEFECT_CODE, ExitCode.DEFECT, N_("a defect of this program"), N_("report it, with its log")),
    (
        "GC-9002",
        ExitCode.DEFECT,
        N_("the node stopped itself"),
        N_("keep its folder and report it, with its log"),
    ),
)
NO_NODE_FIX: Final = N_("name the folder of a node, as .testnet/nodes/validator-1 is one")
"""What helps where the settings of a node are missing, as `node.config` says it."""
REMEDIES: Final = {code: Remedy(exit_code, summary, fix) for code, exit_code, summary, fix in _ROWS}
"""The rows by code."""
