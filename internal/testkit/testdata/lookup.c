/* Looks a name up as programs do: lookup FAMILY NAME prints its addresses, lookup name ADDRESS prints the name. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static int fail(const char *name, int err)
{
	fprintf(stderr, "%s: %s\n", name, gai_strerror(err));
	return 1;
}

static int reverse(const char *text)
{
	char name[NI_MAXHOST];
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST}, *addr;
	int err = getaddrinfo(text, NULL, &hints, &addr);
	if (err != 0)
		return fail(text, err);
	err = getnameinfo(addr->ai_addr, addr->ai_addrlen, name, sizeof name, NULL, 0, NI_NAMEREQD);
	freeaddrinfo(addr);
	if (err != 0)
		return fail(text, err);
	puts(name);
	return 0;
}

static int forward(const char *family, const char *name)
{
	char text[NI_MAXHOST];
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all;
	hints.ai_family = !strcmp(family, "ip4") ? AF_INET : !strcmp(family, "ip6") ? AF_INET6 : AF_UNSPEC;
	int err = getaddrinfo(name, NULL, &hints, &all);
	if (err != 0)
		return fail(name, err);
	for (struct addrinfo *a = all; a != NULL; a = a->ai_next)
		if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0)
			puts(text);
	freeaddrinfo(all);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	return !strcmp(argv[1], "name") ? reverse(argv[2]) : forward(argv[1], argv[2]);
}
