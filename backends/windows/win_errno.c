/*
 * NTSTATUS to errno: see win_errno.h.
 */
#include "backends/windows/win_errno.h"

#include <stddef.h>

#include "backends/windows/nt.h"

static const struct {
    int32_t status;
    int error;
} known[] = {
    {NT_INVALID_HANDLE, EBADF},
    {NT_OBJECT_TYPE_MISMATCH, EPERM},
    {NT_INVALID_PARAMETER_3, EPERM},
    {NT_ACCESS_DENIED, EACCES},
    {NT_NO_MEMORY, ENOMEM},
    {NT_INSUFFICIENT_RESOURCES, ENOMEM},
    {NT_INVALID_PARAMETER, EINVAL},
    {NT_INVALID_PARAMETER_1, EINVAL},
    {NT_SEMAPHORE_LIMIT_EXCEEDED, EOVERFLOW},
    {NT_NOT_IMPLEMENTED, ENOSYS},
    {NT_NOT_SUPPORTED, EOPNOTSUPP},
    {NT_NOT_FOUND, ENOENT},
    {NT_CANCELLED, ECANCELED},
};

int tocsin__win_errno(int32_t status)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].status == status) {
            return -known[i].error;
        }
    }
    return -EIO;
}
