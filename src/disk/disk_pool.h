/* disk_pool.h: threads for requests that may wait. SPDX-License-Identifier: Apache-2.0 */
#ifndef ISOMER_DISK_POOL_H
#define ISOMER_DISK_POOL_H

#include "disk/disk.h"

struct disk_pool;
/* Runs r on a thread of the disk's pool and gives it back by disk_queue_finished(). */
void disk_pool_run(struct disk *d, struct disk_req *r);
/* Waits for what is running; pool may be NULL. */
void disk_pool_free(struct disk_pool *pool);
/* From any thread: r->result is set. */
void disk_queue_finished(struct disk_req *r);

#endif
