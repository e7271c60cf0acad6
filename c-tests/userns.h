/* Makes a user namespace like a container's.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef RFS_TEST_USERNS_H
#define RFS_TEST_USERNS_H

/* Takes this process into a new user namespace in which every id is mapped to itself. It must be called in a child
 * of in_child(0, ...). */
void enter_user_namespace(void);

#endif
