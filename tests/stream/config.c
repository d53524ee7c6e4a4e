/* SPDX-License-Identifier: BSD-3-Clause */
/* The config record of a VFIO device. */
#include <errno.h>
#include "lib/stream/config.h"
#include "lib/stream/qemu.h"
#include "tests/stream/pieces.h"

/* A config space with one capability in front and MSI-X of @vectors at @at behind it; 0: none. */
static void make_space(uint8_t *config, unsigned vectors, unsigned at)
{
    config[6] = 0x10; /* status: there is a list */
    config[0x34] = 0x40;
    config[0x40] = 0x01; /* power management */
    if (vectors) {
        config[0x41] = (uint8_t)at;
        config[at] = 0x11;
        config[at + 2] = (uint8_t)(vectors - 1);
        config[at + 3] = (uint8_t)((vectors - 1) >> 8 | 0xc0); /* enabled, masked: not a number */
    }
}

static struct vmig_pci_state *make_state(uint32_t size, unsigned vectors, bool ramfb)
{
    struct vmig_pci_state *s = calloc(1, sizeof(*s));
    s->size = sizeof(*s);
    s->config_bytes = size;
    s->num_vectors = vectors;
    s->has_ramfb = ramfb;
    make_space(s->config, vectors, 0x50);
    s->config[size - 1] = 0x5a;
    s->irq_state[2] = 1;
    for (unsigned i = 0; i < vectors * 16; i++)
        s->msix_table[i] = (uint8_t)(i * 3 + 1);
    for (unsigned i = 0; i < (vectors + 7) / 8; i++)
        s->msix_pending[i] = (uint8_t)(i + 0x80);
    if (ramfb)
        s->ramfb = (struct vmig_ramfb) { 0x123456789a, 0x34325258, 1, 1024, 768, 4096 };
    return s;
}

static void the_number_of_vectors_is_found(void **state)
{
    (void)state;
    static const unsigned counts[] = { 1, 2, 3, 2047, 2048 };
    for (size_t i = 0; i < 5; i++) {
        uint8_t config[256] = { 0 };
        make_space(config, counts[i], 0x50);
        assert_int_equal(pci_config_msix_vectors(config), counts[i]);
        config[6] = 0; /* without the status bit there is no list */
        assert_int_equal(pci_config_msix_vectors(config), 0);
    }
    uint8_t config[256] = { 0 };
    make_space(config, 0, 0);
    assert_int_equal(pci_config_msix_vectors(config), 0);
}

static void a_capability_list_that_leads_astray_is_refused(void **state)
{
    (void)state;
    uint8_t config[256] = { 0 };
    make_space(config, 4, 0xf4); /* 12 bytes to the end: fits */
    assert_int_equal(pci_config_msix_vectors(config), 4);
    memset(config, 0, sizeof(config));
    make_space(config, 4, 0xf8);
    assert_int_equal(pci_config_msix_vectors(config), -EINVAL);
    memset(config, 0, sizeof(config));
    make_space(config, 0, 0);
    config[0x41] = 0x40; /* in a circle */
    assert_int_equal(pci_config_msix_vectors(config), -EINVAL);
    config[0x41] = 0x3c; /* into the header */
    assert_int_equal(pci_config_msix_vectors(config), -EINVAL);
}

/* 48 capabilities of 4 bytes fill the space; the last may be MSI-X only where it fits. */
static void the_longest_list_is_walked(void **state)
{
    (void)state;
    uint8_t config[256] = { 0 };
    config[6] = 0x10;
    config[0x34] = 0x40;
    for (unsigned at = 0x40; at < 0x100; at += 4) {
        config[at] = 0x09;
        config[at + 1] = (uint8_t)(at + 4); /* the last one's is 0x100, that is 0 */
    }
    assert_int_equal(pci_config_msix_vectors(config), 0);
    config[0xfd] = 0x40;
    assert_int_equal(pci_config_msix_vectors(config), -EINVAL);
}

static void check_round_trip(uint32_t size, unsigned vectors, bool ramfb, uint32_t told)
{
    struct vmig_pci_state *s = make_state(size, vectors, ramfb);
    struct vmig_pci_state *got = malloc(sizeof(*got));
    struct vmig_error err;
    struct writer w;
    struct reader r;
    writer_init(&w);
    assert_done(pci_config_write(&w, s, &err), &err);
    /* version, config, interrupt lines, table, pending bits; marker, name, version, display */
    size_t length = 4 + size + 16 + 16 * vectors + (vectors + 7) / 8;
    assert_int_equal(pci_config_body_bytes(size, vectors), length);
    length += ramfb ? 1 + 1 + 25 + 4 + 28 : 0;
    assert_int_equal(w.length, length);
    writer_u64(&w, QEMU_VFIO_END_OF_STATE);
    struct pieces p = { .bytes = w.buf, .length = w.length };
    assert_int_equal(reader_init_fill(&r, pieces_fill, &p), 0);
    assert_done(pci_config_read(&r, told, got, &err), &err);
    assert_memory_equal(got, s, sizeof(*s));
    assert_true(reader_u64(&r) == QEMU_VFIO_END_OF_STATE);
    reader_done(&r);
    writer_done(&w);
    free(s);
    free(got);
}

static void a_body_comes_back_as_written(void **state)
{
    (void)state;
    static const unsigned counts[] = { 0, 1, 7, 8, 9, 253, 254, 2048 };
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        for (int ramfb = 0; ramfb < 2; ramfb++) {
            check_round_trip(256, counts[i], ramfb, 0);
            check_round_trip(256, counts[i], ramfb, 256);
            check_round_trip(4096, counts[i], ramfb, 0);
            check_round_trip(4096, counts[i], ramfb, 4096);
        }
}

static void sizes_without_msix_are_276_and_4116(void **state)
{
    (void)state;
    assert_int_equal(pci_config_body_bytes(256, 0), 276);
    assert_int_equal(pci_config_body_bytes(4096, 0), 4116);
}

static void a_body_cut_anywhere_is_refused(void **state)
{
    (void)state;
    struct vmig_pci_state *s = make_state(256, 9, true);
    struct vmig_pci_state *got = malloc(sizeof(*got));
    struct vmig_error err;
    struct writer w;
    writer_init(&w);
    assert_done(pci_config_write(&w, s, &err), &err);
    size_t without_display = pci_config_body_bytes(256, 9);
    for (size_t length = 0; length < w.length; length++) {
        struct reader r;
        reader_init_memory(&r, w.buf, length);
        memset(&err, 0, sizeof(err));
        int rc = pci_config_read(&r, 256, got, &err);
        assert_int_equal(rc, length == without_display ? 0 : -ENODATA);
        reader_init_memory(&r, w.buf, length);
        /* not told the size, one takes it for the larger and wants more */
        assert_true(pci_config_read(&r, 0, got, NULL) < 0 || length >= without_display);
    }
    writer_done(&w);
    free(s);
    free(got);
}

static void refuse_body(const struct writer *w, size_t at, uint8_t byte, int code,
                        const char *fragment)
{
    struct vmig_pci_state *got = malloc(sizeof(*got));
    struct vmig_error err;
    struct reader r;
    uint8_t before = w->buf[at];
    w->buf[at] = byte;
    reader_init_memory(&r, w->buf, w->length);
    assert_refused(pci_config_read(&r, 256, got, &err), &err, code, fragment);
    w->buf[at] = before;
    free(got);
}

static void wrong_fields_are_refused_where_they_stand(void **state)
{
    (void)state;
    struct vmig_pci_state *s = make_state(256, 1, true);
    struct vmig_error err;
    struct writer w;
    writer_init(&w);
    assert_done(pci_config_write(&w, s, &err), &err);
    refuse_body(&w, 3, 3, EINVAL, "offset 0");           /* version */
    refuse_body(&w, 4 + 0x41, 0x40, EINVAL, "offset 4"); /* capabilities in a circle */
    refuse_body(&w, 260 + 3, 2, EINVAL, "offset 260");   /* INTA is 2 */
    refuse_body(&w, 260 + 15, 2, EINVAL, "offset 272");  /* INTD */
    size_t display = 276 + 16 + 1;
    refuse_body(&w, display + 2, 'v', EINVAL, "offset 293");    /* name */
    refuse_body(&w, display + 30, 2, EOPNOTSUPP, "offset 320"); /* version */
    struct reader r;
    reader_init_memory(&r, w.buf, w.length);
    assert_refused(pci_config_read(&r, 1024, s, &err), &err, EINVAL, "1024 bytes");
    writer_done(&w);
    free(s);
}

static void a_state_that_contradicts_itself_is_not_written(void **state)
{
    (void)state;
    struct vmig_pci_state *s = make_state(256, 2, false);
    struct vmig_error err;
    struct writer w;
    writer_init(&w);
    s->num_vectors = 3;
    assert_refused(pci_config_write(&w, s, &err), &err, EINVAL,
                   "2 MSI-X vectors and the table has 3");
    s->num_vectors = 2;
    s->irq_state[3] = 2;
    assert_refused(pci_config_write(&w, s, &err), &err, EINVAL, "interrupt line 3 is 2");
    s->irq_state[3] = 0;
    s->config_bytes = 257;
    assert_refused(pci_config_write(&w, s, &err), &err, EINVAL, "257 bytes");
    assert_int_equal(w.length, 0);
    writer_done(&w);
    free(s);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_number_of_vectors_is_found),
        cmocka_unit_test(a_capability_list_that_leads_astray_is_refused),
        cmocka_unit_test(the_longest_list_is_walked),
        cmocka_unit_test(a_body_comes_back_as_written),
        cmocka_unit_test(sizes_without_msix_are_276_and_4116),
        cmocka_unit_test(a_body_cut_anywhere_is_refused),
        cmocka_unit_test(wrong_fields_are_refused_where_they_stand),
        cmocka_unit_test(a_state_that_contradicts_itself_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
