"""What a Byzantine validator may do, each trick by itself; a seed draws some of them."""

from __future__ import annotations

from enum import Enum


class Trick(Enum):
    """One thing a Byzantine validator does besides following the protocol."""

    TWINS = "runs twice under one key, and peers see one of the two or both"
    EQUIVOCATE = "proposes two blocks for one height, and votes for either where it was proposed"
    SUPPLANT = "starts a view with another block than it carries over"
    REPEAT_FINAL = "puts into its blocks what is final already"
    MISDATE = "stamps its proposals with a false time"
    VOTE_FOR_ALL = "votes in both phases for every header it hears of"
    HIDE = "leaves certificates out of its VIEW-CHANGEs, differently for each peer"
    TWO_NEW_VIEWS = "starts a view from different quorums for different peers"
    LIE = "reports false heights and views"
    GAP = "tells its newest commit certificate alone, and nothing else of what is decided"
    FORGE = "speaks for others, and starts views without a quorum"
    STUFF = "makes up the quorum of a certificate from one vote"
    ALTER = "changes a header and leaves the vote that is sent with it"
    CLOCK = "has a clock that is far off"
    SLOW = "takes long to send anything, though never quite too long"
    FLOOD = "sends peers far more than anybody asked for"
    SILENT = "sends some kinds of message to nobody"
    SELECTIVE = "sends nothing to one peer after another"
    WITHHOLD = "never passes on a transaction, a body or a block"
    STARVE = "passes on no transaction, body or block to one peer"
    FALSE_BODIES = "answers with altered bodies and blocks"
    SPOIL = "passes transactions on with false signatures"
    ABDICATE = "leaves the views it is primary of when it likes, and says that it was time"
    CENSOR = "proposes nothing of one client"
    GARBLE = "sends damaged messages"
    REPLAY = "sends old messages of others again"
    OUTDATE = "says in an epoch that is over what it says in this one"
