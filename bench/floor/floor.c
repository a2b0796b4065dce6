// The floor: what the kernel charges for the same container when a C program with nothing else in it makes it.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e6 + t.tv_nsec / 1e3; }
static int cmp(const void *a, const void *b) { double x = *(double *)a, y = *(double *)b; return x < y ? -1 : x > y; }
static void must(int r, const char *what) { if (r < 0) { perror(what); _exit(9); } }
static void put(const char *path, const char *text) { int fd = open(path, O_WRONLY); must(fd, path); must(write(fd, text, strlen(text)), path); close(fd); }
int main(int argc, char **argv) { // floor LOWER DIR ROUNDS
	const char *lower = argv[1], *dir = argv[2]; int n = atoi(argv[3]); double *us = calloc(n, sizeof *us); char b[4096];
	for (int i = 0; i < n; i++) {
		char up[512], work[512], root[512];
		snprintf(up, 512, "%s/u%d", dir, i); snprintf(work, 512, "%s/w%d", dir, i); snprintf(root, 512, "%s/r%d", dir, i);
		mkdir(up, 0755); mkdir(work, 0755); mkdir(root, 0755);
		int p[2]; must(pipe2(p, O_CLOEXEC), "pipe");
		double t = now();
		struct clone_args a = { .flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP, .exit_signal = SIGCHLD };
		long pid = syscall(SYS_clone3, &a, sizeof a); must(pid, "clone3");
		if (pid == 0) {
			char c; must(read(p[0], &c, 1), "read");
			must(syscall(SYS_setresgid, 0, 0, 0), "gid"); must(syscall(SYS_setresuid, 0, 0, 0), "uid");
			must(mount("", "/", "", MS_REC | MS_SLAVE, ""), "slave");
			snprintf(b, sizeof b, "lowerdir=%s,upperdir=%s,workdir=%s,userxattr", lower, up, work);
			must(mount("overlay", root, "overlay", 0, b), "overlay"); must(chdir(root), "chdir");
			mkdir("proc", 0755); mkdir("dev", 0755); mkdir("sys", 0755);
			must(mount("proc", "proc", "proc", 14, ""), "proc"); must(mount("tmpfs", "dev", "tmpfs", 2, "mode=755"), "dev");
			mkdir("dev/pts", 0755); must(mount("devpts", "dev/pts", "devpts", 10, "newinstance"), "pts");
			must(mount("sysfs", "sys", "sysfs", 15, ""), "sys");
			must(syscall(SYS_pivot_root, ".", "."), "pivot"); must(umount2(".", MNT_DETACH), "umount"); must(chdir("/"), "chdir");
			execl("/bin/true", "true", (char *)0); perror("exec"); _exit(9);
		}
		snprintf(b, sizeof b, "/proc/%ld/uid_map", pid); put(b, "0 200000 65536");
		snprintf(b, sizeof b, "/proc/%ld/gid_map", pid); put(b, "0 200000 65536");
		write(p[1], "x", 1);
		int st; waitpid(pid, &st, 0); us[i] = now() - t; close(p[0]); close(p[1]);
		if (st) { fprintf(stderr, "status %x\n", st); return 1; }
	}
	qsort(us, n, sizeof *us, cmp); printf("floor: median %.0f us, p99 %.0f us\n", us[n / 2], us[n * 99 / 100]);
}
