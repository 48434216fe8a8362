/* cli_disk_table.c: the commands of `isomer disk`. SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

/* Not defined in `isomer` itself: cli_disk.c says why. */
#define COMMAND(name) extern __attribute__((weak)) isomer_disk_command isomer_disk_##name

COMMAND(create);
COMMAND(info);
COMMAND(check);
COMMAND(convert);
COMMAND(resize);
COMMAND(snapshot_create);
COMMAND(snapshot_list);
COMMAND(snapshot_delete);
COMMAND(snapshot_revert);
COMMAND(bitmap_list);
COMMAND(bitmap_add);
COMMAND(bitmap_remove);
COMMAND(bitmap_clear);
COMMAND(bitmap_enable);
COMMAND(bitmap_disable);
COMMAND(bitmap_merge);
COMMAND(commit);
COMMAND(rebase);
COMMAND(map);
COMMAND(compare);
COMMAND(split);
COMMAND(serve);
COMMAND(mount);
COMMAND(bench);

#define AT(field) offsetof(struct cli_args, disk.field)
#define OPTION_END {NULL, 0, CLI_FLAG, 0, 0, NULL, NULL}
#define LEAF(name, summary, usage, text, options, min, max, words) \
    {#name, summary, usage, text, options, min, max, words, NULL, NULL, isomer_disk_##name}
#define END {NULL, NULL, NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL}

/* ---- options of several commands ------------------------------------------------------- */

#define OPTION_JSON {"json", 0, CLI_FLAG, AT(json), 0, NULL, "Print JSON."}
#define OPTION_QUIET {"quiet", 'q', CLI_FLAG, AT(quiet), 0, NULL, "No progress and no summary."}
#define OPTION_FORMAT                                                                             \
    {"format", 'f', CLI_STRING, AT(format), 0, "FORMAT",                                          \
     "Format of the image. Default: what its header says; a raw image must be named as such to "  \
     "be written to, for what a guest writes there must not become another format."}
#define OPTION_PASSWORD                                                                           \
    {"password-file", 0, CLI_STRING, AT(password_file), 0, "FILE",                                \
     "Passphrase of an encrypted image: all of FILE, up to a newline at its end; - is standard "  \
     "input. Default: it is asked for on the terminal."}
#define OPTION_FOLDER                                                                             \
    {"allow-folder", 0, CLI_LIST, AT(folders), 0, "DIR",                                          \
     "A folder that backing and data files may lie in beside the image's own; / allows all. May " \
     "be repeated."}
#define OPTION_SHARED                                                                             \
    {"shared", 'U', CLI_FLAG, AT(shared), 0, NULL,                                                \
     "Look at an image although another process may be writing it."}
#define OPTION_SNAPSHOT                                                                           \
    {"snapshot", 's', CLI_STRING, AT(snapshot), 0, "NAME",                                        \
     "What the disk was at this internal snapshot (name or id)."}
#define OPTIONS_OPEN OPTION_FORMAT, OPTION_PASSWORD, OPTION_FOLDER, OPTION_JSON
#define OPTION_FORCE                                                                              \
    {"force", 0, CLI_FLAG, AT(force), 0, NULL, "Replace files that are there already."}
#define OPTION_BACKING                                                                            \
    {"backing", 'b', CLI_STRING, AT(backing), 0, "FILE",                                          \
     "Backing file: what the image does not hold itself is read from it. The name is stored as "  \
     "written and relative to the image."},                                                       \
    {"backing-format", 'F', CLI_STRING, AT(backing_format), 0, "FORMAT",                          \
     "Format of the backing file, stored with its name."}
/* What a new image is like. */
#define OPTIONS_NEW                                                                               \
    {"cluster-size", 0, CLI_SIZE, AT(cluster_size), 0, "SIZE",                                    \
     "qcow2: unit of allocation, 512 to 2M. Default: 64K, 128K with subclusters."},               \
    {"extended-l2", 0, CLI_WORD, AT(extended_l2), 0, "on|off",                                    \
     "qcow2: 32 subclusters to a cluster, so that small writes into an overlay copy little. "     \
     "Default: on with a backing file."},                                                         \
    {"compression", 0, CLI_WORD, AT(compression), 0, "zlib|zstd",                                 \
     "qcow2: how clusters are compressed. Default: zlib, which all readers know."},               \
    {"lazy-refcounts", 0, CLI_FLAG, AT(lazy_refcounts), 0, NULL,                                  \
     "qcow2: write reference counts late; they are rebuilt after a crash."},                      \
    {"refcount-bits", 0, CLI_NUMBER, AT(refcount_bits), 0, "NUMBER",                              \
     "qcow2: width of reference counts, 1 to 64. Default: 16."},                                  \
    {"qcow2-version", 0, CLI_NUMBER, AT(version), 0, "NUMBER",                                    \
     "qcow2: 2 for readers older than 2012. Default: 3."},                                        \
    {"preallocate", 0, CLI_WORD, AT(prealloc), 0, "off|metadata|falloc|full",                     \
     "Space to take at once; falloc and full are the same. Default: off."},                       \
    {"geometry", 0, CLI_STRING, AT(geometry), 0, "C,H,S",                                         \
     "Cylinders, heads and sectors a track, as a device will report them."},                      \
    {"subformat", 0, CLI_STRING, AT(subformat), 0, "NAME",                                        \
     "Variant of a format that has several."},                                                    \
    {"encrypt", 0, CLI_FLAG, AT(encrypt), 0, NULL,                                                \
     "Encrypt with LUKS (AES-XTS); see --password-file."}

/* ---- options by command ---------------------------------------------------------------- */

static const struct cli_option create_options[] = {
    {"format", 'f', CLI_STRING, AT(format), 0, "FORMAT", "Format of the image. Default: qcow2."},
    OPTION_BACKING,
    OPTIONS_NEW,
    {"data-file", 0, CLI_STRING, AT(data_file), 0, "FILE",
     "qcow2: keep the disk's bytes in this file, tables in the image."},
    {"data-file-raw", 0, CLI_FLAG, AT(data_file_raw), 0, NULL,
     "qcow2: the data file is a raw image of the disk, readable without the tables."},
    OPTION_PASSWORD, OPTION_FOLDER, OPTION_FORCE, OPTION_JSON,
    OPTION_END,
};

static const struct cli_option info_options[] = {
    OPTIONS_OPEN, OPTION_SHARED,
    {"backing-chain", 0, CLI_FLAG, AT(chain), 0, NULL, "Also of all backing files below."},
    OPTION_END,
};

static const struct cli_option check_options[] = {
    OPTIONS_OPEN, OPTION_SHARED, OPTION_QUIET,
    {"repair", 'r', CLI_WORD_MAY, AT(repair), 0, "leaks|all",
     "Put right what is wrong: lost space only, or everything (the default)."},
    OPTION_END,
};

static const struct cli_option convert_options[] = {
    OPTIONS_OPEN, OPTION_SHARED, OPTION_SNAPSHOT,
    {"output-format", 'O', CLI_STRING, AT(output_format), 0, "FORMAT",
     "Format of the new image. Default: by the name's ending (.raw, .img, .qcow2, ...), else "
     "qcow2."},
    {"compress", 'c', CLI_FLAG, AT(compress), 0, NULL, "Compress, on all cores."},
    OPTION_BACKING,
    {"sparse", 'S', CLI_STRING, AT(sparse), 0, "SIZE",
     "Runs of zeros at least this long take no space. Default: 4K; 0: write all."},
    {"verify", 0, CLI_FLAG, AT(verify), 0, NULL,
     "Before the new image gets its name, read it back and compare."},
    {"bitmaps", 0, CLI_FLAG, AT(bitmaps), 0, NULL, "Copy dirty bitmaps, too."},
    {"skip-broken-bitmaps", 0, CLI_FLAG, AT(skip_broken_bitmaps), 0, NULL,
     "With --bitmaps: leave out those that were not closed, which otherwise is an error."},
    OPTIONS_NEW, OPTION_QUIET,
    OPTION_END,
};

static const struct cli_option resize_options[] = {
    OPTIONS_OPEN,
    {"shrink", 0, CLI_FLAG, AT(shrink), 0, NULL, "A smaller size is meant, and loses what is "
                                                 "behind the new end."},
    OPTION_END,
};

static const struct cli_option open_options[] = {OPTIONS_OPEN, OPTION_END};
static const struct cli_option bitmap_add_options[] = {
    OPTIONS_OPEN,
    {"granularity", 'g', CLI_SIZE, AT(granularity), 0, "SIZE",
     "Bytes that one bit stands for: a power of two from 512 to 2G. Default: 64K."},
    {"disabled", 0, CLI_FLAG, AT(disabled), 0, NULL, "Do not record yet."},
    OPTION_END,
};
static const struct cli_option bitmap_merge_options[] = {
    OPTIONS_OPEN,
    {"source", 'b', CLI_STRING, AT(source), 0, "FILE",
     "The image that FROM is in. Default: IMAGE."},
    {"source-format", 'F', CLI_STRING, AT(backing_format), 0, "FORMAT", "Its format."},
    OPTION_END,
};
static const struct cli_option look_options[] = {OPTIONS_OPEN, OPTION_SHARED, OPTION_END};
static const struct cli_option commit_options[] = {OPTIONS_OPEN, OPTION_QUIET, OPTION_END};

static const struct cli_option rebase_options[] = {
    OPTIONS_OPEN, OPTION_QUIET, OPTION_BACKING,
    {"unsafe", 'u', CLI_FLAG, AT(unsafe), 0, NULL,
     "Only write the new name: the backing file was moved, or is the same."},
    OPTION_END,
};

static const struct cli_option map_options[] = {
    OPTIONS_OPEN, OPTION_SHARED, OPTION_SNAPSHOT,
    OPTION_END,
};

static const struct cli_option compare_options[] = {
    OPTIONS_OPEN, OPTION_SHARED, OPTION_QUIET,
    {"second-format", 'F', CLI_STRING, AT(backing_format), 0, "FORMAT",
     "Format of the second image."},
    {"strict", 0, CLI_FLAG, AT(strict), 0, NULL,
     "Sizes and what is allocated must be the same, too."},
    OPTION_END,
};

static const struct cli_option split_options[] = {
    OPTIONS_OPEN, OPTION_SHARED, OPTION_QUIET,
    {"parts", 'n', CLI_NUMBER, AT(parts), 0, "NUMBER", "Split into so many disks."},
    {"size", 0, CLI_SIZE, AT(part_size), 0, "SIZE",
     "Size of each disk; of a folder: the most that a disk may be."},
    {"layout", 0, CLI_STRING, AT(layout), 0, "FILE",
     "A file with one disk a line: NAME SIZE [C,H,S]."},
    {"output-format", 'O', CLI_STRING, AT(output_format), 0, "FORMAT",
     "Format of the new disks. Default: qcow2."},
    {"compress", 'c', CLI_FLAG, AT(compress), 0, NULL, "Compress, on all cores."},
    OPTIONS_NEW, OPTION_FORCE,
    OPTION_END,
};

static const struct cli_option serve_options[] = {
    OPTIONS_OPEN, OPTION_SHARED, OPTION_SNAPSHOT,
    {"socket", 'k', CLI_STRING, AT(socket), 0, "PATH", "Listen on this unix socket."},
    {"bind", 0, CLI_STRING, AT(address), 0, "ADDRESS",
     "Listen on TCP at this address. Default: 127.0.0.1 if no socket is named."},
    {"port", 'p', CLI_STRING, AT(port), 0, "PORT", "TCP port. Default: 10809; 0: any that is "
                                                   "free, which is printed."},
    {"name", 'x', CLI_STRING, AT(name), 0, "NAME", "Name of the export. Default: none."},
    {"description", 0, CLI_STRING, AT(description), 0, "TEXT", "What NBD_OPT_LIST says of it."},
    {"read-only", 'r', CLI_FLAG, AT(read_only), 0, NULL, "Do not let clients write."},
    {"max-clients", 'e', CLI_NUMBER, AT(max_clients), 0, "NUMBER",
     "Clients at once. Default: 16."},
    {"persistent", 't', CLI_FLAG, AT(persistent), 0, NULL,
     "Go on when the last client has left. Otherwise that ends it."},
    {"tls-cert", 0, CLI_STRING, AT(tls_cert), 0, "FILE",
     "Offer TLS with this certificate (PEM, with its chain)."},
    {"tls-key", 0, CLI_STRING, AT(tls_key), 0, "FILE", "Its private key."},
    {"tls-ca", 0, CLI_STRING, AT(tls_ca), 0, "FILE",
     "Clients must show a certificate that this authority signed."},
    {"tls-required", 0, CLI_FLAG, AT(tls_required), 0, NULL, "Refuse clients without TLS."},
    OPTION_END,
};

static const struct cli_option mount_options[] = {
    OPTIONS_OPEN, OPTION_SHARED, OPTION_SNAPSHOT,
    {"read-only", 'r', CLI_FLAG, AT(read_only), 0, NULL, "The file cannot be written."},
    {"foreground", 0, CLI_FLAG, AT(foreground), 0, NULL,
     "Stay until it is unmounted (fusermount3 -u DIR), instead of in the background."},
    OPTION_END,
};

static const struct cli_option bench_options[] = {
    OPTIONS_OPEN,
    {"count", 'c', CLI_NUMBER, AT(count), 0, "NUMBER", "Requests. Default: 75000."},
    {"depth", 'd', CLI_NUMBER, AT(depth), 0, "NUMBER", "Requests in flight. Default: 64."},
    {"offset", 'o', CLI_SIZE, AT(offset), CLI_ZERO_TOO, "SIZE",
     "Where the first request is. Default: 0."},
    {"buffer-size", 's', CLI_SIZE, AT(buffer_size), 0, "SIZE", "Bytes a request. Default: 4K."},
    {"step-size", 'S', CLI_SIZE, AT(step), 0, "SIZE",
     "From one request to the next, modulo the size. Default: the buffer size."},
    {"random", 0, CLI_FLAG, AT(random), 0, NULL, "Random places instead."},
    {"seed", 0, CLI_NUMBER, AT(seed), 0, "NUMBER", "Seed of the random places. Default: 1."},
    {"write", 'w', CLI_FLAG, AT(write), 0, NULL, "Write. What the image holds is lost."},
    {"pattern", 0, CLI_NUMBER, AT(pattern), 0, "BYTE", "Byte to write. Default: 0."},
    {"flush-interval", 0, CLI_NUMBER, AT(flush_interval), 0, "NUMBER",
     "Flush after so many requests."},
    {"queues", 0, CLI_NUMBER, AT(queues), 0, "NUMBER",
     "Threads, each with a queue of that depth; they share the requests. Default: 1."},
    OPTION_END,
};

/* ---- the commands ---------------------------------------------------------------------- */

#define SNAPSHOT(name, summary, usage, text, options, min, max) \
    {#name, summary, usage, text, options, min, max, NULL, NULL, NULL,     \
     isomer_disk_snapshot_##name}
#define BITMAP(name, summary, usage, text, options, min, max) \
    {#name, summary, usage, text, options, min, max, NULL, NULL, NULL, \
     isomer_disk_bitmap_##name}

static const struct cli_command snapshot_commands[] = {
    SNAPSHOT(create, "take an internal snapshot", "IMAGE NAME",
             "Costs no copy: what the disk is now is kept while it is written to further.",
             open_options, 2, 2),
    SNAPSHOT(list, "list internal snapshots", "IMAGE", NULL, look_options, 1, 1),
    SNAPSHOT(delete, "delete an internal snapshot", "IMAGE NAME",
             "In any order; the disk and other snapshots stay as they are.", open_options, 2, 2),
    SNAPSHOT(revert, "make the disk what it was", "IMAGE NAME",
             "What was written since is lost, unless another snapshot has it.", open_options, 2, 2),
    END,
};

static const struct cli_command bitmap_commands[] = {
    BITMAP(list, "list dirty bitmaps", "IMAGE", NULL, look_options, 1, 1),
    BITMAP(add, "begin to record what is written", "IMAGE NAME [GRANULARITY]",
           "Whoever writes to the image keeps the bitmap from then on, QEMU, too.",
           bitmap_add_options, 2, 3),
    BITMAP(remove, "remove a bitmap", "IMAGE NAME",
           "Also one that was in use when its writer was killed, which says nothing any more.",
           open_options, 2, 2),
    BITMAP(clear, "forget what was written", "IMAGE NAME", "As after a backup.", open_options, 2,
           2),
    BITMAP(enable, "go on recording", "IMAGE NAME", NULL, open_options, 2, 2),
    BITMAP(disable, "stop recording", "IMAGE NAME", NULL, open_options, 2, 2),
    BITMAP(merge, "add what another bitmap has", "IMAGE INTO FROM",
           "Granularities may differ, sizes of the disks may not.", bitmap_merge_options, 3, 3),
    END,
};

const struct cli_command cli_disk_commands[] = {
    LEAF(create, "make a new disk", "IMAGE [SIZE]",
         "The image appears whole or not at all. With a backing file the size may be left out.",
         create_options, 1, 2, NULL),
    LEAF(info, "say what an image is", "IMAGE...", NULL, info_options, 1, -1, NULL),
    LEAF(check, "look whether an image is sound", "IMAGE...",
         "Prints what it finds. The exit status is 1 if data is in danger or something could not "
         "be repaired; lost space alone is no failure.",
         check_options, 1, -1, NULL),
    LEAF(convert, "write a disk's content to another image", "SOURCE IMAGE",
         "The new image is written under another name, flushed, and only then gets its name, so "
         "that SOURCE and IMAGE may be the same.",
         convert_options, 2, 2, NULL),
    LEAF(resize, "change a disk's size", "IMAGE [+|-]SIZE", NULL, resize_options, 2, 2, NULL),
    {"snapshot", "internal snapshots of a disk", "COMMAND IMAGE [NAME]",
     "All states of one disk in one image.", NULL, 1, -1, NULL, NULL, snapshot_commands},
    {"bitmap", "record what has been written, for backups", "COMMAND IMAGE [NAME]",
     "A qcow2 image can hold maps of what was written since they were made.", NULL, 1, -1, NULL,
     NULL, bitmap_commands},
    LEAF(commit, "write an overlay's content into its backing file", "IMAGE",
         "Afterwards the image is empty.", commit_options, 1, 1, NULL),
    LEAF(rebase, "give an overlay another backing file", "IMAGE",
         "What would read differently is copied into the image first. Without -b it becomes "
         "independent.",
         rebase_options, 1, 1, NULL),
    LEAF(map, "say where the bytes of a disk are", "IMAGE", NULL, map_options, 1, 1, NULL),
    LEAF(compare, "compare the content of two disks", "IMAGE IMAGE",
         "The exit status is 1 if they differ, 2 if one cannot be read. The longer one's rest must "
         "be zeros.",
         compare_options, 2, 2, NULL),
    LEAF(split, "make several small disks of a large one, or of a folder", "SOURCE PREFIX",
         "An image is cut into pieces. The files of a folder are spread over disks that hold a tar "
         "archive each (tar -xf /dev/vdb), none larger than --size. The disks are PREFIX-01.qcow2, "
         "..., or PREFIX-NAME.qcow2 with the names that the layout gives.",
         split_options, 2, 2, NULL),
    LEAF(serve, "let NBD clients use a disk", "IMAGE",
         "Over a unix socket or TCP, to any number of connections. Ends with the last client, or "
         "by SIGTERM; both flush.",
         serve_options, 1, 1, NULL),
    LEAF(mount, "show a disk as a file", "IMAGE DIR",
         "Mounts a file system of one file, DIR/disk, through FUSE: what is written there is "
         "written to the disk.",
         mount_options, 2, 2, NULL),
    LEAF(bench, "measure reads or writes", "IMAGE",
         "Options as those of qemu-img bench, so that the two can be compared.", bench_options, 1,
         1, NULL),
    END,
};
