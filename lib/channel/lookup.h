/* SPDX-License-Identifier: BSD-3-Clause */
/* Host names to addresses, with an end to the wait: a name server that does not answer holds
 * getaddrinfo() for tens of seconds, and nothing wakes it. */
#ifndef LIB_CHANNEL_LOOKUP_H
#define LIB_CHANNEL_LOOKUP_H

#include <netdb.h>

typedef int lookup_function(const char *host, const char *port, const struct addrinfo *hints,
                            struct addrinfo **ret);

/* What @function, getaddrinfo() but in tests, finds: 0 or one of its EAI_ numbers. LOOKUP_CANCELLED
 * when @cancel_fd (or -1) became readable first: then the question is left to itself on its own
 * thread. @host may be NULL. */
#define LOOKUP_CANCELLED 1 /* EAI_ numbers are negative */
int lookup_address(lookup_function *function, const char *host, const char *port, int flags,
                   int cancel_fd, struct addrinfo **ret);

#endif
