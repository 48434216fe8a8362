/* os_true.c: the program that o_vfork and o_spawn start. SPDX-License-Identifier: Apache-2.0 */
int main(void)
{
    return 0;
}
