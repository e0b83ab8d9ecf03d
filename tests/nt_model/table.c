/*
 * The model's table, and the model as the platform of this process.
 */
#include "tests/nt_model/kernel.h"

#define MODEL_WITHOUT_PACKETS                                                                      \
    .port_create = model_port_create, .port_post = model_port_post,                                \
    .port_remove = model_port_remove, .close = model_close,                                        \
    .duplicate_to_wait = model_duplicate_to_wait, .compare = model_compare, .type = model_type,    \
    .event_create = model_event_create, .event_set = model_event_set,                              \
    .event_reset = model_event_reset, .semaphore_create = model_semaphore_create,                  \
    .semaphore_release = model_semaphore_release, .timer_create = model_timer_create,              \
    .timer_set = model_timer_set, .timer_cancel = model_timer_cancel, .wait_one = model_wait_one,  \
    .wait_many = model_wait_many, .now_ns = kernel_now_ns, .point = model_point

static const struct nt without_packets = {MODEL_WITHOUT_PACKETS};

static const struct nt with_packets = {
    MODEL_WITHOUT_PACKETS,
    .packet_create = model_packet_create,
    .packet_associate = model_packet_associate,
    .packet_cancel = model_packet_cancel,
    .packet_close = model_packet_close,
};

const struct nt *nt_model_table(void)
{
    return kernel.options.without_packets ? &without_packets : &with_packets;
}

const struct nt *tocsin__nt_system(void)
{
    return nt_model_table();
}
