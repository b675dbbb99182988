/* One layer of an artifact, a line per neuron, or per kernel of a convolution: its weights, as + and -, then its threshold, and behind that,
 * where the layer has such tensors, the potential to start from and the bias:
 *     cc -o unpack unpack.c && ./unpack network.safetensors LAYER INPUTS
 * INPUTS are the weights of a row: what comes in, behind the pool if there is one, or the places of a kernel times its channels.
 * docs/artifact.md describes the file. Numbers in it are little-endian, and this program takes the machine to be so too. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What of a tensor is read: its bytes, those of a row, and its rows; no bytes if the file has no such tensor. */
struct tensor { unsigned char *bytes; uint64_t row_bytes, rows; };

static struct tensor read_tensor(FILE *file, const char *header, const char *layer, const char *what) {
    uint64_t columns = 1, width = strcmp(what, "weights") ? 4 : 1, begin, end;
    struct tensor read = {NULL, 0, 0};
    char name[64], *entry, *shape, *offsets;
    snprintf(name, sizeof name, "\"layers.%s.%s\":", layer, what);
    if (!(entry = strstr(header, name))) return read;
    if (!(shape = strstr(entry, "\"shape\":")) || !(offsets = strstr(entry, "\"data_offsets\":"))) exit(2);
    if (sscanf(shape, "\"shape\":[%" SCNu64 ",%" SCNu64, &read.rows, &columns) < 1) exit(2);
    if (sscanf(offsets, "\"data_offsets\":[%" SCNu64 ",%" SCNu64, &begin, &end) != 2) exit(2);
    read.row_bytes = columns * width;
    if (end < begin || !read.row_bytes || (end - begin) / read.row_bytes != read.rows) exit(2);
    read.bytes = malloc(end - begin);
    if (!read.bytes || fseek(file, (long)(8 + strlen(header) + begin), SEEK_SET) != 0) exit(2);
    if (fread(read.bytes, 1, end - begin, file) != end - begin) exit(2);
    return read;
}

int main(int argc, char **argv) {
    static const char *const numbers[] = {"thresholds", "initial", "bias"};
    uint64_t length;
    FILE *file = argc == 4 ? fopen(argv[1], "rb") : NULL;
    if (!file || fread(&length, 8, 1, file) != 1 || length > 100000000) return 2;
    char *header = calloc(length + 1, 1);
    if (!header || fread(header, 1, length, file) != length || strlen(header) != length) return 2;
    struct tensor weights = read_tensor(file, header, argv[2], "weights"), found[3];
    uint64_t inputs = strtoull(argv[3], NULL, 10);
    if (!weights.bytes || inputs > 8 * weights.row_bytes) return 2;
    for (int kind = 0; kind < 3; kind++) {
        found[kind] = read_tensor(file, header, argv[2], numbers[kind]);
        if (found[kind].bytes ? found[kind].rows != weights.rows : kind == 0) return 2;
    }
    for (uint64_t row = 0; row < weights.rows; row++) {
        const unsigned char *packed = weights.bytes + row * weights.row_bytes;
        for (uint64_t input = 0; input < inputs; input++) putchar(packed[input / 8] >> (input % 8) & 1 ? '+' : '-');
        for (int kind = 0; kind < 3; kind++) {
            int32_t value;
            if (!found[kind].bytes) continue;
            memcpy(&value, found[kind].bytes + 4 * row, 4);
            printf(" %" PRId32, value);
        }
        putchar('\n');
    }
    return 0;
}
