"""What a step of verification that passed found, as the rooms below say it.

What it consists of besides, such as a digest or names, is told as it is.
"""

from __future__ import annotations

from typing import Final

from node.cli.remedies import N_

FINDINGS: Final = (
    N_("a record of {sender} at height {height}"),
    N_("algorithm {algorithm}"),
    N_("carried by {format}: {said}"),
    N_("its signature was stamped at {time}, by an authority that nobody checked: {said}"),
    N_("version 1, {size} bytes, {count} time stamps, {algorithms}"),
    N_("version 1, {size} bytes, suite {suite}"),
    N_("version 1, {size} characters, {said}"),
    N_("epoch {epoch}, {count} validators"),
    N_("epoch {epoch}, {count} validators, {handovers} handovers"),
    N_("{said}; joined to height {height} of epoch {epoch}"),
    N_("header {digest}"),
    N_("height {height}, T {time}"),
    N_("heights {old} and {new}, T {time} and later"),
    N_("index {index} of the log, height {height}"),
    N_("index {index} of {size}"),
    N_("index {index} of {size}, path of {length}"),
    N_("index {index}, path of {length}"),
    N_("none"),
    N_("nothing, after height {height}, T {time}"),
    N_("record {number}, after height {height}"),
    N_("path of {count} certificates"),
    N_("pinned at genesis"),
    N_("pinned at height {height}"),
    N_("serial number {number}"),
    N_("serial number {number}, path of {count} certificates"),
    N_("{said}; its key is not believed since {time}"),
    N_("size {size}, cosigned by nobody"),
    N_("size {size}, cosigned by {names}"),
    N_("the anchored block"),
    N_("the last one until {time}"),
    N_("time-stamping alone"),
    N_("{size} bytes, index {index}"),
    N_("{count} from epoch {first}"),
    N_("{count} hash trees renewed"),
    N_("{held} in the token, {named} named by what is signed"),
    N_("{count} lists of hashes"),
    N_("{old} of {new} leaves, path of {length}"),
    N_("{count} of {size}, quorum {quorum}"),
    N_("{count} of {size}, quorum {quorum}, checkpoint at height {height}"),
    N_("{said}; the COSE signature too"),
    N_("{said}; the public checkpoint too"),
    N_("{said}; the compact certificate too"),
    N_("{count} signed attributes, {algorithm}"),
    N_("{count} time stamps renewed"),
    N_("{digest}, as the request asks"),
    N_("{said}, height {height}, T {time}"),
    N_("{subject} by {agent}"),
    N_("record"),
    N_("supersede"),
    N_("in_force"),
    N_("superseded"),
    N_("withdrawn"),
    N_("absent"),
    N_("{said}; compact certificate not checked: {refusal}"),
)
"""As in refusals.py."""
