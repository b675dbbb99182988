/* The weights of one layer of an artifact, a line of + and - per neuron, or per kernel of a convolution:
 *     cc -o unpack unpack.c && ./unpack network.safetensors LAYER INPUTS
 * INPUTS are the weights of a row: what comes in, behind the pool if there is one, or the places of a kernel times its channels.
 * docs/artifact.md describes the file. Numbers in it are little-endian, and this program takes the machine to be so too. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    uint64_t length, outputs, row_bytes, begin;
    char name[64], *header, *entry, *shape, *offsets;
    FILE *file = argc == 4 ? fopen(argv[1], "rb") : NULL;
    if (!file || fread(&length, 8, 1, file) != 1 || length > 100000000) return 2;
    header = calloc(length + 1, 1);
    if (!header || fread(header, 1, length, file) != length) return 2;
    snprintf(name, sizeof name, "\"layers.%s.weights\":", argv[2]);
    if (!(entry = strstr(header, name)) || !(shape = strstr(entry, "\"shape\":"))) return 2;
    if (sscanf(shape, "\"shape\":[%" SCNu64 ",%" SCNu64, &outputs, &row_bytes) != 2) return 2;
    if (!(offsets = strstr(entry, "\"data_offsets\":")) || sscanf(offsets, "\"data_offsets\":[%" SCNu64, &begin) != 1) return 2;
    if (fseek(file, (long)(8 + length + begin), SEEK_SET) != 0) return 2;
    uint64_t inputs = strtoull(argv[3], NULL, 10);
    unsigned char *row = malloc(row_bytes);
    for (uint64_t neuron = 0; neuron < outputs; neuron++) {
        if (!row || inputs > 8 * row_bytes || fread(row, 1, row_bytes, file) != row_bytes) return 2;
        for (uint64_t input = 0; input < inputs; input++) putchar(row[input / 8] >> (input % 8) & 1 ? '+' : '-');
        putchar('\n');
    }
    return 0;
}
