"""Mistakes that real systems made, planted here: each names the system and the public report.

Thirty of them, M01 to M30, in the order in which they were collected; where a report is about a
mechanism that this design does not have, `instead` says so and the nearest mistake is made. M31 to
M36 are mistakes that only this design allows.
"""

from __future__ import annotations

from tests.mutation.mutant import Edit, Mutant

_CORE = "node/consensus/core.py"
_NEW_VIEW = "node/consensus/new_view.py"
_PACEMAKER = "node/consensus/pacemaker.py"
_STATE = "node/consensus/state.py"
_VERIFICATION = "node/consensus/verification.py"
_VIEW_CHANGES = "node/consensus/view_changes.py"
_BALLOTS = "node/service/ballots.py"
_BLOCK_SYNC = "node/service/catch_up/block_sync.py"
_ENGINE = "node/service/engine.py"
_GATE = "node/service/admission.py"
_PURSUIT = "node/service/pursuit.py"
_RECEPTION = "node/service/reception.py"
_RECOVERY = "node/service/recovery.py"
_CERTIFICATE = "node/chain/certificate.py"
_MEMBERSHIP = "node/chain/membership.py"
_APPLY = "node/execution/apply.py"
_SEGMENT = "node/storage/segment.py"


def _core(old: str, new: str) -> Edit:
    return Edit(_CORE, old, new)


PLANTED = (
    Mutant(
        "M01",
        "a VIEW-CHANGE shows no prepared certificates",
        "Sawtooth PBFT, start_view_change and handle_new_view; cothority #2080",
        (
            _core(
                "slots_prepared(self._slots, self.tip.height, self.tip.height + self._window)",
                "slots_prepared(self._slots, self.tip.height, self.tip.height)",
            ),
        ),
    ),
    Mutant(
        "M02",
        "a new primary's proposal replaces what its view carries over",
        "FISCO BCOS, PR #5168 (FIB-124)",
        (
            _core(
                "        return slot is None or (slot.offer is None and slot.header is None)\n",
                "        return slot is None or slot.offer is None\n",
            ),
            _core(
                "            if slot.header is None and slot.offer is not None and"
                " not slot.refused:\n",
                (
                    "            if slot.offer is not None and slot.offer.digest != slot.digest:\n"
                    "                if not slot.prepare_cast:\n"
                    "                    slot.header = None\n"
                    "            if slot.header is None and slot.offer is not None and"
                    " not slot.refused:\n"
                ),
            ),
        ),
        instead="a NEW-VIEW states no outcome here that could be believed",
    ),
    Mutant(
        "M03",
        "a signer counts as often as it is listed in a certificate or NEW-VIEW",
        "FISCO BCOS, isValidNewViewMsg and checkPrecommitWeight; Fabric 0.6, fabric #370",
        (
            Edit(_CERTIFICATE, "if validator <= previous:", "if validator < previous:"),
            Edit(
                _CERTIFICATE,
                "if len(voters) != len(certificate.votes) or len(voters) < validators.quorum:",
                "if len(certificate.votes) < validators.quorum:",
            ),
            Edit(_VERIFICATION, "if not is_ascending or", "if"),
        ),
    ),
    Mutant(
        "M04",
        "a new view takes the prepared certificate of the lowest view",
        "the rule of OSDI'99 section 4.4; the class of Zyzzyva's flaw, arXiv 1712.01367",
        (
            Edit(
                _NEW_VIEW,
                "chosen = max(candidates, key=lambda item: (item.certificate.subject.view,",
                "chosen = min(candidates, key=lambda item: (item.certificate.subject.view,",
            ),
        ),
    ),
    Mutant(
        "M05",
        "what a vote signs does not name its phase",
        "FISCO BCOS, PR #5180 (FIB-134); raijin #17",
        (Edit(_CERTIFICATE, "encode_uint(self.phase),\n", "encode_uint(1),\n"),),
    ),
    Mutant(
        "M06",
        "a proposal's header is not hashed to see whether the vote with it is about it",
        "pbft-java, found by ByzzBench; FISCO BCOS (FIB-130); CometBFT GHSA-r3r4-g7hq-pq4f",
        (
            Edit(
                _VERIFICATION,
                "        digest = self.digest_of(header)\n        subject = Subject(",
                "        digest = vote.subject.header_digest\n        subject = Subject(",
            ),
        ),
    ),
    Mutant(
        "M07",
        "a second proposal for a height replaces the first, voted for or not",
        "the rule of OSDI'99 section 4.2: no other digest accepted for view and number",
        (
            _core(
                "        return slot is None or (slot.offer is None and slot.header is None)\n",
                "        return slot is None or slot.decided is None\n",
            ),
            _core(
                "        if slot.offer is None:\n            slot.offer = Offer(",
                (
                    "        if slot.digest != subject.header_digest:\n"
                    "            slot.header, slot.prepare_cast = None, False\n"
                    "            self._cast.pop((Phase.PREPARE, subject.height), None)\n"
                    "            slot.offer = Offer("
                ),
            ),
        ),
    ),
    Mutant(
        "M08",
        "votes of a higher view count in the own one",
        "FISCO BCOS, PR #5167 (FIB-133)",
        (
            _core(
                "if subject.view > self.view or (subject.view == self.view and"
                " not self.view_active):",
                "if subject.view == self.view and not self.view_active:",
            ),
            _core(
                "        elif subject.view == self.view:\n            self._record_vote(vote)",
                "        elif subject.view >= self.view:\n            self._record_vote(vote)",
            ),
        ),
    ),
    Mutant(
        "M09",
        "a quorum is 2 f + 1 for every n",
        "IBFT: Saltini and Hyland-Wood, arXiv 1901.07160",
        (
            Edit(
                _MEMBERSHIP,
                "return (n + faults_tolerated(n) + 2) // 2",
                "return 2 * faults_tolerated(n) + 1",
            ),
        ),
    ),
    Mutant(
        "M10",
        "whatever was written leaves when the log reports anything durable",
        "FISCO BCOS keeps what is prepared in memory; CometBFT's rule to sync before it signs",
        (
            Edit(
                _BALLOTS,
                "while self._unsynced and self._unsynced[0][0] <= lsn:",
                "while self._unsynced:",
            ),
        ),
    ),
    Mutant(
        "M11",
        "a log with a torn tail counts as empty, and the validator votes on",
        "Tendermint #3089, #3295 and PR #3246; Jepsen's truncation of its log",
        (
            Edit(
                _SEGMENT,
                "    return ParsedSegment(header=header, records=tuple(records),",
                (
                    "    if tail is Tail.TORN:\n        records.clear()\n"
                    "    return ParsedSegment(header=header, records=tuple(records),"
                ),
            ),
        ),
    ),
    Mutant(
        "M12",
        "a restart resumes the last view entered, whatever was said of leaving it",
        "concord-bft #805",
        (
            Edit(
                _RECOVERY,
                "if view_change is not None and view_change.view > view:",
                "if view_change is not None and view_change.view < view:",
            ),
        ),
    ),
    Mutant(
        "M13",
        "one certificate on another parent makes a new view ignore all others of its height",
        "concord-bft PR #50",
        (
            Edit(
                _NEW_VIEW,
                "            if item.header.height == height and item.header.parent == parent\n",
                "            if item.header.height == height\n",
            ),
            Edit(
                _NEW_VIEW,
                "        if not candidates:\n",
                (
                    "        if not candidates or any("
                    "item.header.parent != parent for item in candidates):\n"
                ),
            ),
        ),
    ),
    Mutant(
        "M14",
        "a commit certificate above a missing one is the base of a new view",
        "Fabric 0.6, fabric #1111: the base evaluated over the wrong set",
        (
            Edit(
                _NEW_VIEW,
                "    base = max((vc.committed for vc in view_changes), key=_tip_height,"
                " default=())\n",
                (
                    "    tips = [vc.committed for vc in view_changes]\n"
                    "    for vc in view_changes:\n"
                    "        tips += [(i,) for i in vc.prepared"
                    " if i.certificate.subject.phase == 2]\n"
                    "    base = max(tips, key=_tip_height, default=())\n"
                ),
            ),
        ),
        instead="there are no checkpoints that could be taken for the VIEW-CHANGEs",
    ),
    Mutant(
        "M15",
        "VIEW-CHANGE and NEW-VIEW are sent once",
        "Fabric 0.6, fabric #1917",
        (
            _core(
                "            if own is not None and own.view == self.view:  # else the new one",
                "            if own is not None and own.view < 0:  # else the new one",
            ),
            _core(
                "                self._out += [Send(None, held) for held in"
                " self._view_changes.since(self.view)]\n",
                "                pass\n",
            ),
            _core(
                "        if self.view_active and self.new_view is not None:\n"
                "            self._out.append(Send(validator, self.new_view))\n",
                "",
            ),
            _core(
                "        if not self.view_active and own is not None and own.view == self.view:\n",
                "        if own is not None and own.view < 0:\n",
            ),
            _core("            self._repeat_new_view()\n", "            pass\n"),
        ),
    ),
    Mutant(
        "M16",
        "one VIEW-CHANGE for a higher view pulls everybody along",
        "FISCO BCOS #2211",
        (
            Edit(
                _VIEW_CHANGES,
                "return above if len(above) > self.validators.faults else []",
                "return above",
            ),
        ),
    ),
    Mutant(
        "M17",
        "timeouts double with failed views, without a cap, and never start over",
        "polygon-edge #187; besu-docs #611",
        (
            Edit(
                _PACEMAKER,
                "        timeout_ms = self.timeout_ms(failed_views)\n",
                (
                    "        self.failed_views = max(failed_views,"
                    ' getattr(self, "failed_views", 0))\n'
                    "        timeout_ms = self.timeout_ms(self.failed_views)\n"
                ),
            ),
            Edit(
                _PACEMAKER,
                "return min(doubled, self._parameters.view_timeout_max_ms)",
                "return doubled",
            ),
        ),
    ),
    Mutant(
        "M18",
        "who has sent COMMIT does not leave the view",
        "dBFT 2, neo-modules #792",
        (
            _core(
                "        if expired.view:\n            if not self.view_active:\n",
                (
                    "        if expired.view and"
                    " not any(slot.commit_cast for slot in self._slots.values()):\n"
                    "            if not self.view_active:\n"
                ),
            ),
            _core(
                "            target = min(vc.view for vc in above)\n",
                (
                    "            if any(slot.commit_cast for slot in self._slots.values()):\n"
                    "                break\n"
                    "            target = min(vc.view for vc in above)\n"
                ),
            ),
        ),
    ),
    Mutant(
        "M19",
        "what is on the chain already is executed again",
        "SmartBFT #484, #553 and #570: sync and view change deliver one block twice",
        (
            Edit(
                _APPLY,
                "        held = parent.find_held(listed)\n",
                "        held = parent.find_held([])\n",
            ),
        ),
        instead="blocks become final in one place; what is left is what a block may hold",
    ),
    Mutant(
        "M20",
        "a decided block is applied although the one below it is not decided",
        "FISCO BCOS (FIB-128)",
        (
            _core(
                "        height = self.tip.height + 1\n        slot = self._slots.get(height)\n",
                (
                    "        decided = [h for h, slot in self._slots.items() if slot.decided]\n"
                    "        height = min(decided, default=self.tip.height + 1)\n"
                    "        slot = self._slots.get(height)\n"
                ),
            ),
            _core(
                "        if header.parent != self.tip_digest:\n            self._halt(",
                "        if header.height <= self.tip.height:\n            self._halt(",
            ),
        ),
    ),
    Mutant(
        "M21",
        "COMMIT is sent above a height that is not prepared",
        "indy-plenum, the remark in NewViewBuilder.calc_batches",
        (
            _core(
                "            if unbroken and not slot.commit_cast:\n",
                "            if slot.prepared_here and not slot.commit_cast:\n",
            ),
        ),
    ),
    Mutant(
        "M22",
        "PREPARE is sent for what was ordered, not for what was executed",
        "Fabric 0.6, fabric #1094: a checkpoint by the counter of ordering",
        (
            _core(
                "            if not self._verdicts.get(slot.digest):\n"
                "                return\n"
                "            if not slot.prepare_cast and",
                "            if self._verdicts.get(slot.digest) is False:\n"
                "                return\n"
                "            if not slot.prepare_cast and",
            ),
        ),
        instead="there are no checkpoints: a commit certificate covers the state",
    ),
    Mutant(
        "M23",
        "the certificate of a synced block is not checked",
        "FISCO BCOS (FIB-127); CVE-2020-15091 and GO-2025-3442 of Tendermint and CometBFT",
        (
            Edit(
                _BLOCK_SYNC,
                "            self._verifier.check_decided("
                "CertifiedHeader(block.header, block.certificate))\n",
                "",
            ),
        ),
    ),
    Mutant(
        "M24",
        "a signature once refused condemns the transaction, whoever sends it again",
        "FISCO BCOS #2191 and PR #5186 (FIB-137): verdicts that outlive what they were about",
        (
            Edit(
                _GATE,
                "        self._keys: dict[bytes, PublicKey] = {}\n",
                (
                    "        self._keys: dict[bytes, PublicKey] = {}\n"
                    "        self.refused: dict[bytes, None] = {}\n"
                ),
            ),
            Edit(
                _GATE,
                "        if self._is_pending(transaction.tx_id):\n",
                (
                    "        if transaction.tx_id in self.refused:\n"
                    "            return Admission(AdmissionCode.BAD_SIGNATURE)\n"
                    "        if self._is_pending(transaction.tx_id):\n"
                ),
            ),
            Edit(
                _GATE,
                "        key = self._key(transaction.body.sender)\n        return None if",
                (
                    "        if transaction.tx_id in self.refused:\n            return None\n"
                    "        key = self._key(transaction.body.sender)\n        return None if"
                ),
            ),
            Edit(
                _ENGINE,
                "        self._pursuits.checked(job, verdicts)\n",
                (
                    "        for candidate, verdict in zip(job.candidates, verdicts):\n"
                    "            if verdict is None:\n"
                    "                self.gate.refused[candidate.transaction.tx_id] = None\n"
                    "        self._pursuits.checked(job, verdicts)\n"
                ),
            ),
        ),
        instead="a core checks votes of one epoch only, so of transactions",
    ),
    Mutant(
        "M25",
        "a vote counts before its signature is checked",
        "FISCO BCOS (FIB-129, FIB-131)",
        (
            Edit(
                _RECEPTION,
                "                    self._verify(self._check_vote, message)\n"
                "                    self._run(now, ev.VoteReceived(message))\n",
                "                    self._run(now, ev.VoteReceived(message))\n"
                "                    self._verify(self._check_vote, message)\n",
            ),
        ),
    ),
    Mutant(
        "M26",
        "execution goes through the transactions of a block in the order of a set",
        "BFT-SMaRt's advice on determinism; fabric #1741; CometBFT GO-2026-4361",
        (
            Edit(
                _APPLY,
                "[each.transaction for each in transactions], senders)\n",
                "[each.transaction for each in frozenset(transactions)], senders)\n",
            ),
        ),
    ),
    Mutant(
        "M27",
        "bodies are asked from the proposer alone",
        "Aardvark (NSDI'09) and RBFT: one primary that does less than it could",
        (
            Edit(
                _PURSUIT,
                "            holder = pursuit.holders[pursuit.asked % len(pursuit.holders)]\n",
                "            holder = pursuit.header.proposer\n",
            ),
        ),
        instead="one timer that any progress resets is how this core is, and its page says so",
    ),
    Mutant(
        "M28",
        "signatures of gossiped transactions are not checked, those of fetched bodies are",
        "CometBFT #5204: what is valid differs by the path",
        (
            Edit(
                _RECEPTION,
                "                    self._pursuits.have_checked("
                "CheckJob(Purpose.GOSSIP, candidates))\n",
                (
                    "                    from node.chain.transaction import VerifiedTransaction\n\n"
                    "                    for c in candidates:\n"
                    "                        believed = VerifiedTransaction("
                    "c.transaction, c.key.encoded)\n"
                    "                        self._intake.admit(believed, from_client=False)\n"
                ),
            ),
        ),
    ),
    Mutant(
        "M29",
        "the double-sign guard forgets the height it is needed for",
        "CometBFT #5668: a setting of 1 checked nothing",
        (
            _core(
                "            subject = vote.subject\n"
                "            if subject.height <= self.tip.height:\n                continue\n",
                "            subject = vote.subject\n"
                "            if subject.height <= self.tip.height + 1:\n                continue\n",
            ),
        ),
    ),
    Mutant(
        "M30",
        "a validator's number is used as an index unseen",
        "CometBFT ASA-2025-003 and ABC-0021; SmartBFT-Go/fabric #279; FISCO BCOS (FIB-115)",
        (
            Edit(
                _CERTIFICATE,
                "        if self.validator >= validators.size:\n            return False\n",
                "",
            ),
            Edit(_VERIFICATION, " or view_change.validator >= validators.size:", ":"),
        ),
    ),
    Mutant(
        "M31",
        "the NEW-VIEW timer runs without a quorum of VIEW-CHANGEs",
        "the rule of OSDI'99 section 4.5.2; indy-node #1720: views that chase each other",
        (
            _core(
                "            waiting = len(self.leaving) >= self.validators.quorum\n",
                "            waiting = True\n",
            ),
        ),
    ),
    Mutant(
        "M32",
        "a new view takes a prepared certificate whatever its parent",
        "chained slots; the class of FaB's and Zyzzyva's flaws, arXiv 1712.01367",
        (
            Edit(
                _NEW_VIEW,
                "if item.header.height == height and item.header.parent == parent",
                "if item.header.height == height",
            ),
        ),
    ),
    Mutant(
        "M33",
        "COMMIT is sent above a height that was prepared in an earlier view only",
        "dBFT 1, neo PR #320: what one view has does not bind the next",
        (
            _core(
                "            unbroken = unbroken and slot.prepared_here and not slot.abstains\n"
                "            if unbroken and not slot.commit_cast:\n",
                "            unbroken = unbroken and slot.prepared is not None\n"
                "            if unbroken and slot.prepared_here and not slot.commit_cast:\n",
            ),
        ),
    ),
    Mutant(
        "M34",
        "votes of an earlier view for the same header count in a later one",
        "FISCO BCOS, PR #5167 (FIB-133): certificates of mixed views",
        (
            Edit(
                _STATE,
                "        self.prepares, self.commits, self.accused = {}, {}, {}\n",
                "        self.accused = {}\n",
            ),
        ),
    ),
    Mutant(
        "M35",
        "a block whose bodies came late is judged invalid",
        "the rule that validity may use no local knowledge; fabric #1741",
        (
            Edit(
                _PURSUIT,
                "        matches = executed.header == header\n",
                "        matches = executed.header == header and not pursuit.asked\n",
            ),
        ),
    ),
    Mutant(
        "M36",
        "a proposal may come the later the higher its view, whether or not views failed",
        "CometBFT's proposer-based time: delays grow with the round, which starts over by height",
        (
            _core(
                "delay_for(self._failed_views(), self.parameters)",
                "delay_for(self.view, self.parameters)",
            ),
        ),
    ),
)
