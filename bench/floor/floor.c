// The floor: what the kernel charges for the same container when a C program with nothing else in it makes it. It makes
// the namespaces, of users too, mounts an overlay root, proc, dev, dev/pts and sys, pivots, executes PROGRAM and waits for
// it. There is no cgroup, no network, no seccomp, no mask: all that naru does beyond this is in the ratio.
//
//	floor LOWER DIR PROGRAM
//
// For every byte on its standard input it makes one container, and prints how many microseconds that took. LOWER is the
// image, with folders proc, dev and sys; what the containers leave lies in DIR.
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

static const char *lower, *program;
static char upper[512], work[512], root[512];

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static long must(long result, const char *what)
{
	if (result < 0) {
		perror(what);
		_exit(9);
	}
	return result;
}

static void folder(char *path, const char *dir, const char *name, int number)
{
	snprintf(path, sizeof upper, "%s/%s%d", dir, name, number);
	must(mkdir(path, 0755), path);
}

static void put(long pid, const char *file, const char *text)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%ld/%s", pid, file);
	int fd = must(open(path, O_WRONLY), path);
	must(write(fd, text, strlen(text)), path);
	close(fd);
}

static void mounts(void)
{
	char options[2048];
	snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s,userxattr", lower, upper, work);
	must(mount("", "/", "", MS_REC | MS_SLAVE, ""), "slave");
	must(mount("overlay", root, "overlay", 0, options), "overlay");
	must(chdir(root), "chdir");
	must(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, ""), "proc");
	must(mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755"), "dev");
	must(mkdir("dev/pts", 0755), "dev/pts");
	must(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance"), "dev/pts");
	must(mount("sysfs", "sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, ""), "sys");
}

static void contained(int go, int output)
{
	char c;
	must(read(go, &c, 1), "read"); // until there are users to be
	must(syscall(SYS_setresgid, 0, 0, 0), "setresgid");
	must(syscall(SYS_setresuid, 0, 0, 0), "setresuid");
	mounts();
	must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(umount2(".", MNT_DETACH), "umount");
	must(chdir("/"), "chdir");
	must(dup2(output, 1), "dup2");
	execl(program, program, (char *)0);
	must(-1, program);
}

static void start(int output)
{
	int go[2], status;
	must(pipe2(go, O_CLOEXEC), "pipe");
	struct clone_args a = {
		.flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP,
		.exit_signal = SIGCHLD,
	};
	long pid = must(syscall(SYS_clone3, &a, sizeof a), "clone3");
	if (pid == 0)
		contained(go[0], output);
	put(pid, "uid_map", "0 200000 65536");
	put(pid, "gid_map", "0 200000 65536");
	must(write(go[1], "x", 1), "write");
	must(waitpid(pid, &status, 0), "wait");
	if (status != 0) {
		fprintf(stderr, "status %x\n", status);
		_exit(9);
	}
	close(go[0]);
	close(go[1]);
}

int main(int argc, char **argv)
{
	char c;
	if (argc != 4)
		return 2;
	lower = argv[1], program = argv[3];
	int output = must(open("/dev/null", O_WRONLY | O_CLOEXEC), "/dev/null");
	for (int i = 0; must(read(0, &c, 1), "read") == 1; i++) {
		folder(upper, argv[2], "upper", i);
		folder(work, argv[2], "work", i);
		folder(root, argv[2], "root", i);
		double begin = now();
		start(output);
		printf("%.0f\n", now() - begin);
		fflush(stdout);
	}
	return 0;
}
