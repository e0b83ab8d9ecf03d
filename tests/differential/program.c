/*
 * Drawing a program from a seed, and showing it.
 *
 * Every kind of operation has a weight; the main actor gets one operation in twelve.  Options of
 * the pool are drawn too: none may change a result.
 */
#include "differential.h"

#include <inttypes.h>

enum {
    KINDS_MAX = 256,
};

static const struct op_group *const groups[] = {
    &ops_buffers, &ops_connect, &ops_io,    &ops_link,   &ops_main,  &ops_order,
    &ops_pipe,    &ops_process, &ops_ready, &ops_remote, &ops_sim,   &ops_socket,
    &ops_task,    &ops_thread,  &ops_timer, &ops_uring,  &ops_vpoll,
#if defined(TOCSIN_HAVE_UV)
    &ops_uv,
#endif
};

/* splitmix64: neighbouring seeds give programs that have nothing in common. */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static unsigned draw_below(uint64_t *state, unsigned bound)
{
    return (unsigned)((draw(state) >> 32) % bound);
}

static const struct op_kind *draw_kind(uint64_t *state, uint32_t by)
{
    const struct op_kind *fitting[KINDS_MAX];
    unsigned count = 0;
    unsigned sum = 0;
    unsigned at;

    for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
        for (size_t k = 0; k < groups[g]->count; k++) {
            const struct op_kind *kind = &groups[g]->kinds[k];

            if ((kind->by & by) != 0) {
                NEED(count < KINDS_MAX);
                fitting[count++] = kind;
                sum += kind->weight;
            }
        }
    }
    at = draw_below(state, sum);
    for (unsigned i = 0; i < count; i++) {
        if (at < fitting[i]->weight) {
            return fitting[i];
        }
        at -= fitting[i]->weight;
    }
    abort(); /* the weights add up to the sum */
}

static void draw_options(struct tocsin_pool_options *options, uint64_t *state)
{
    static const uint32_t budgets[] = {0, 1, 3, 16, 256};
    static const uint32_t clocks[] = {0, 1, 16};

    options->budget_polls = budgets[draw_below(state, 5)];
    options->clock_polls = clocks[draw_below(state, 3)];
    options->budget_ns = draw_below(state, 4) == 0 ? 1000 : 0;
    options->busy_poll_ns = draw_below(state, 8) == 0 ? 20000 : 0;
    options->timer_slack_ns = draw_below(state, 4) == 0 ? 1 : 0;
    options->order_seed = draw_below(state, 4) == 0 ? 1 + draw_below(state, 1000) : 0;
}

void program_draw(struct program *program, uint64_t seed)
{
    uint64_t state = seed;

    memset(program, 0, sizeof(*program));
    program->seed = seed;
    program->phases = 1 + draw_below(&state, PHASES_MAX);
    for (unsigned phase = 0; phase < program->phases; phase++) {
        program->actors[phase] = 4 + draw_below(&state, ACTORS_MAX - 3);
        program->drive[phase] = (enum drive)draw_below(&state, DRIVES);
        if (seed % 2 == 1) {
            program->thread[phase] = 1 + draw_below(&state, program->actors[phase] - 1);
        }
    }
    draw_options(&program->options, &state);
    program->ops_count = OPS_MIN + draw_below(&state, OPS_MAX - OPS_MIN + 1);
    for (unsigned i = 0; i < program->ops_count; i++) {
        struct op *op = &program->ops[i];

        op->number = i;
        op->phase = draw_below(&state, program->phases);
        op->actor = draw_below(&state, 12) == 0
                        ? 0
                        : 1 + draw_below(&state, program->actors[op->phase] - 1);
        op->kind = draw_kind(&state, op->actor == 0                            ? BY_MAIN
                                     : op->actor == program->thread[op->phase] ? BY_THREAD
                                                                               : BY_TASK);
        for (unsigned p = 0; p < OP_PARAMETERS; p++) {
            op->p[p] = (uint32_t)(draw(&state) >> 32);
        }
    }
}

bool program_has_thread(const struct program *program)
{
    return program->thread[0] != 0;
}

void program_print(const struct program *program, FILE *file)
{
    static const char *const drives[] = {"run", "run_until", "hosted"};

    fprintf(file, "#   seed=%" PRIu64 ", %u operations\n", program->seed, program->ops_count);
    for (unsigned phase = 0; phase < program->phases; phase++) {
        fprintf(file, "#   phase %u: %s, %u tasks, thread %u\n", phase,
                drives[program->drive[phase]],
                program->actors[phase] - 1 - (program->thread[phase] != 0), program->thread[phase]);
    }
    fprintf(file,
            "#   budget %u polls, %u to a clock read, %u ns; busy %u ns; slack %u ns; order %u\n",
            program->options.budget_polls, program->options.clock_polls,
            (unsigned)program->options.budget_ns, (unsigned)program->options.busy_poll_ns,
            (unsigned)program->options.timer_slack_ns, (unsigned)program->options.order_seed);
    for (unsigned i = 0; i < program->ops_count; i++) {
        const struct op *op = &program->ops[i];

        fprintf(file, "#     %u.%u%s %u %s %u %u %u %u\n", op->phase, op->actor,
                op->actor != 0 && op->actor == program->thread[op->phase] ? "t" : " ", op->number,
                op->kind->name, op->p[0], op->p[1], op->p[2], op->p[3]);
    }
}
