/* SPDX-License-Identifier: BSD-3-Clause */
/* What the guest's display shows, as a PNG file. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/fail.h"
#include "vmm/ramfb.h"

/* ---- PNG ---- */

static void on_error(png_structp png, png_const_charp text)
{
    (void)text; /* errno says it better */
    png_longjmp(png, 1);
}

static void put_picture(png_structp png, png_infop info, const struct ramfb_picture *p)
{
    png_set_IHDR(png, info, p->width, p->height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    if (p->pixel_bytes == 4)
        png_set_filler(png, 0, PNG_FILLER_AFTER);
    if (p->blue_first)
        png_set_bgr(png);
    for (uint32_t y = 0; y < p->height; y++)
        png_write_row(png, p->pixels + y * p->stride_bytes); /* copied, before it is looked at */
    png_write_end(png, info);
}

static int encode(FILE *file, const struct ramfb_picture *picture)
{
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, on_error, on_error);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    int rc = -ENOMEM;
    errno = 0;
    if (!info) {
        png_destroy_write_struct(&png, NULL);
        return rc;
    }
    if (setjmp(png_jmpbuf(png))) {
        rc = errno ? -errno : -EIO;
    } else {
        png_init_io(png, file);
        put_picture(png, info, picture);
        rc = fflush(file) ? -errno : 0;
    }
    png_destroy_write_struct(&png, &info);
    return rc;
}

/* What cannot be written as a whole is taken away again, unless it is something else than a file. */
static int write_png(const char *path, const struct ramfb_picture *picture)
{
    struct stat st;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK, 0666);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    int rc = file ? encode(file, picture) : -errno;
    if (!file && fd >= 0)
        close(fd);
    if (!file)
        return rc;
    if (rc < 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        unlink(path);
    return fclose(file) && rc == 0 ? -errno : rc;
}

/* ---- the command ---- */

int screenshot_take(struct ramfb *ramfb, const char *arguments, struct vmig_error *err)
{
    struct ramfb_picture picture;
    json_error_t why;
    const char *path = NULL, *format = "png";
    json_t *json = json_loads(arguments, 0, NULL);
    int rc = 0;
    if (json_unpack_ex(json, &why, JSON_STRICT, "{s?s, s?s}", "filename", &path, "format", &format))
        rc = vmm_fail(err, EINVAL, NULL, "screendump takes filename and format: %s", why.text);
    else if (!path)
        rc = vmm_fail(err, EINVAL, NULL, "Parameter 'filename' is missing");
    else if (strcmp(format, "png"))
        rc = vmm_fail(err, EINVAL, NULL,
                      "Parameter 'format' does not accept value '%.60s'; png is written", format);
    else
        rc = ramfb_look(ramfb, &picture, err);
    int written = rc < 0 ? 0 : write_png(path, &picture);
    if (written < 0)
        rc = vmm_fail(err, written, NULL, "%.300s: %s", path, strerror(-written));
    json_decref(json);
    return rc;
}
