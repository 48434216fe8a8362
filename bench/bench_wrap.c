/* bench_wrap.c: stands for a guest program that qemu cannot start. SPDX-License-Identifier: Apache-2.0
 *
 * QEMU's user mode runs the programs that its guest starts only where the kernel knows the
 * guest's executables (binfmt_misc). Elsewhere a directory of copies of this host program
 * takes the place of /usr/bin: beside each copy NAME a link NAME.to leads to the guest
 * program, which it runs under the emulator. EMULATOR and ROOT are set when compiling.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char self[4096], target[4096];
    char **args = calloc((size_t)argc + 6, sizeof *args);
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 4);
    int k = 0;

    if (n <= 0 || !args) return 126;
    memcpy(self + n, ".to", 4);
    n = readlink(self, target, sizeof target - 1);
    if (n <= 0) return 127;
    target[n] = 0;
    args[k++] = EMULATOR;
    args[k++] = "-L";
    args[k++] = ROOT;
    args[k++] = "-0";
    args[k++] = argv[0];
    args[k++] = target;
    for (int i = 1; i < argc; i++) args[k++] = argv[i];
    execv(EMULATOR, args);
    perror(EMULATOR);
    return 126;
}
