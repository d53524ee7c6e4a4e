/* SPDX-License-Identifier: BSD-3-Clause */
/* Where our monitor does not say what QEMU 7.2 says, and why; vfio-migrate-qmp(7) has it in short. */
#include "tests/monitor/compare.h"

#define BOTH (LIVE | RECORDED)

struct exception exceptions[] = {
    /* ---- who speaks ---- */
    { LIVE, "version", ".reply.return.package", OTHER_VALUE, "the host's own", 0 },
    { LIVE, "commands", ".reply.return.*", ONLY_QEMU, "about other things than migration", 0 },
    { LIVE, "commands", ".reply.return.snapshot", ONLY_OURS,
      "QEMU's snapshots are in disk images, ours in a file", 0 },
    { BOTH, "*", ".reply.return.singlestep", ONLY_QEMU, "of TCG, and gone in QEMU 9.0", 0 },
    /* ---- texts: the parser is another one ---- */
    { LIVE, "no-json", ".reply.error.desc", OTHER_VALUE, "the JSON library's words", 0 },
    { LIVE, "twice", ".reply.error.desc", OTHER_VALUE, "the JSON library's words", 0 },
    { LIVE, "no-utf8", ".reply.error.desc", OTHER_VALUE, "the JSON library's words", 0 },
    { LIVE, "control", ".reply.error.desc", OTHER_VALUE, "says what becomes of what was sent", 0 },
    { LIVE, "parameter-huge", ".reply.error.desc", OTHER_VALUE,
      "beyond 64 bits it is no JSON integer to the library", 0 },
    { RECORDED, "9 other", ".reply.error.desc", OTHER_VALUE, "the JSON library's words", 0 },
    /* ---- texts: ours say more ---- */
    { BOTH, "*continue*", ".reply.error.desc", OTHER_VALUE, "names both states", 0 },
    { LIVE, "parameter-large", ".reply.error.desc", OTHER_VALUE, "with the name as it is", 0 },
    { LIVE, "parameter-negative", ".reply.error.desc", OTHER_VALUE, "with the name as it is", 0 },
    { LIVE, "channels-many", ".reply.error.desc", OTHER_VALUE, "gives the range", 0 },
    { RECORDED, "* migrate-set-parameters", ".reply.error.desc", OTHER_VALUE,
      "with the name as it is, and the value", 0 },
    { LIVE, "active-capabilities", ".reply.error.desc", OTHER_VALUE,
      "says what cannot be done meanwhile", 0 },
    { LIVE, "postmigrate", ".reply.error.desc", OTHER_VALUE, "says what to do", 0 },
    { RECORDED, "78 migrate", ".reply.error.desc", OTHER_VALUE, "says what to do", 0 },
    { BOTH, "*", ".reply.return.error-desc", OTHER_VALUE, "says at which stage, and after how much",
      0 },
    /* how far each comes before the pipe breaks is a matter of time: these may be needed or not */
    { LIVE, "migrate-fails", ".events", OTHER_VALUE, "how far it came", 1 },
    { RECORDED, "85 migrate", ".events", OTHER_VALUE, "how far it came", 1 },
    /* ---- capabilities ---- */
    { BOTH, "*capabilities*", ".reply.return.return-path.state", OTHER_VALUE,
      "a hand-over needs one; where there is none it is done without", 0 },
    { BOTH, "*capabilities*", ".reply.return.multifd.state", OTHER_VALUE,
      "data channels are negotiated, so that nothing is lost by asking", 0 },
    { BOTH, "*capabilities*", ".reply.return.switchover-ack", ONLY_OURS, "QEMU has it from 8.1",
      0 },
    { BOTH, "*capabilities*", ".reply.return.dirty-limit", ONLY_OURS, "QEMU has it from 8.1", 0 },
    { BOTH, "*capabilities*", ".reply.return.mapped-ram", ONLY_OURS, "QEMU has it from 9.0", 0 },
    /* ---- parameters ---- */
    { BOTH, "*parameters*", ".reply.return.*cpu-throttle*", ONLY_QEMU, "vCPUs are the host's", 0 },
    { BOTH, "*parameters*", ".reply.return.throttle-trigger-threshold", ONLY_QEMU,
      "vCPUs are the host's", 0 },
    { BOTH, "*parameters*", ".reply.return.xbzrle-cache-size", ONLY_QEMU, "no delta pages", 0 },
    { BOTH, "*parameters*", ".reply.return.announce-*", ONLY_QEMU, "networks are the host's", 0 },
    { BOTH, "*parameters*", ".reply.return.*compress-*", ONLY_QEMU, "removed from QEMU in 9.1, too",
      0 },
    { BOTH, "*parameters*", ".reply.return.multifd-*", ONLY_QEMU, "pages are not compressed", 0 },
    { BOTH, "*parameters*", ".reply.return.block-incremental", ONLY_QEMU,
      "removed from QEMU in 9.1, too", 0 },
    { BOTH, "*parameters*", ".reply.return.tls-*", ONLY_QEMU, "channels have no TLS", 0 },
    { BOTH, "*parameters*", ".reply.return.max-postcopy-bandwidth", ONLY_QEMU, "no postcopy", 0 },
    { BOTH, "*parameters*", ".reply.return.x-checkpoint-delay", ONLY_QEMU, "no COLO", 0 },
    { BOTH, "*parameters*", ".reply.return.avail-switchover-bandwidth", ONLY_OURS,
      "QEMU has it from 8.2", 0 },
    { BOTH, "*parameters*", ".reply.return.max-rounds", ONLY_OURS, "of our engine", 0 },
    { BOTH, "*parameters*", ".reply.return.pre-copy", ONLY_OURS, "of our engine", 0 },
    { BOTH, "*parameters*", ".reply.return.transition-timeout", ONLY_OURS, "of our engine", 0 },
    { BOTH, "*parameters*", ".reply.return.tracker", ONLY_OURS, "of our engine", 0 },
    { BOTH, "*parameters*", ".reply.return.device-state-size", ONLY_OURS, "of our engine", 0 },
    { BOTH, "*parameters*", ".reply.return.all-dirty", ONLY_OURS, "of our engine", 0 },
    { BOTH, "*parameters*", ".reply.return.ram-digest", ONLY_OURS, "of our engine", 0 },
    { BOTH, "*parameters*", ".reply.return.quiesce-notice", ONLY_OURS, "of our engine", 0 },
    /* ---- statistics ---- */
    { BOTH, "*", ".reply.return.pause", ONLY_OURS, "predicted, and part by part", 0 },
    /* ---- a URI that makes no sense ---- */
    { RECORDED, "33 migrate", ".events", OTHER_VALUE,
      "refused before anything happens, as by QEMU 8.2", 0 },
    { RECORDED, "33 migrate", ".reply.error.desc", OTHER_VALUE, "lists the forms", 0 },
    { RECORDED, "37 query-migrate", ".reply.return.status", ONLY_QEMU,
      "refused before anything happens, as by QEMU 8.2", 0 },
    { 0, NULL, NULL, ONLY_QEMU, NULL, 0 },
};
