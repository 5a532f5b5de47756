/* A Modbus RTU slave of libmodbus, for the rig: it keeps the truth.
 *
 * usage: slave DEVICE
 *
 * Unit 1 has 83 holding registers. Each reply to a request for all of them carries other values, which follow from its running number.
 * When the reply is out, one line of JSON goes to standard output: {"n":"7","i16_ABCD":"-213",...}. Bytes are put in their order here, by hand.
 */
#include <errno.h>
#include <inttypes.h>
#include <modbus/modbus.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const char *orders[] = {"ABCD", "CDAB", "BADC", "DCBA"};
static modbus_mapping_t *map;
static int at;            /* next register */
static char line[16384];  /* what will be logged */
static size_t used;

static void say(const char *name, const char *order, const char *text)
{
	used += snprintf(line + used, sizeof line - used, "%s\"%s%s%s\":\"%s\"", used > 1 ? "," : "", name, *order ? "_" : "", order, text);
}

/* put places size bytes of raw, the highest first, in one of the four orders. */
static void put(uint64_t raw, int size, int order)
{
	uint8_t bytes[8];
	int low_first = order == 1 || order == 3, swapped = order >= 2, words = size / 2, i;

	for (i = 0; i < size; i++)
		bytes[i] = raw >> (8 * (size - 1 - i));
	for (i = 0; i < words; i++) {
		int w = low_first ? words - 1 - i : i;
		uint8_t first = bytes[2 * w], second = bytes[2 * w + 1];
		map->tab_registers[at++] = swapped ? second << 8 | first : first << 8 | second;
	}
}

static void fill(uint32_t n)
{
	char text[64];
	int o;

	at = 0;
	used = 0;
	line[used++] = '{';
	put(n, 4, 0);
	snprintf(text, sizeof text, "%" PRIu32, n);
	say("n", "", text);
	for (o = 0; o < 4; o++) {
		uint32_t k = 4 * n + o;
		int16_t i16 = (int16_t)(k * 7919u);
		uint16_t u16 = k * 40503u;
		int32_t i32 = (int32_t)(k * 2654435761u);
		uint32_t u32 = k * 2246822519u;
		int64_t i64 = -INT64_C(9007199254740993) - (int64_t)k * 1000003;
		uint64_t u64 = UINT64_MAX - (uint64_t)k * 999983;
		float f32 = -(float)k * 0.37f;
		double f64 = -1e10 / (3.0 + k);
		uint32_t raw32;
		uint64_t raw64;

		if (n % 2 == 0) { /* small ones and positive ones as well */
			i64 = (int64_t)k * -17;
			u64 = k;
			f32 = (float)k / 3;
			f64 = k * 1.1;
		}
		put((uint16_t)i16, 2, o);
		snprintf(text, sizeof text, "%d", i16);
		say("i16", orders[o], text);
		put(u16, 2, o);
		snprintf(text, sizeof text, "%u", u16);
		say("u16", orders[o], text);
		put((uint32_t)i32, 4, o);
		snprintf(text, sizeof text, "%" PRId32, i32);
		say("i32", orders[o], text);
		put(u32, 4, o);
		snprintf(text, sizeof text, "%" PRIu32, u32);
		say("u32", orders[o], text);
		memcpy(&raw32, &f32, 4);
		put(raw32, 4, o);
		snprintf(text, sizeof text, "%.17g", (double)f32);
		say("f32", orders[o], text);
		put((uint64_t)i64, 8, o);
		snprintf(text, sizeof text, "%" PRId64, i64);
		say("i64", orders[o], text);
		put(u64, 8, o);
		snprintf(text, sizeof text, "%" PRIu64, u64);
		say("u64", orders[o], text);
		memcpy(&raw64, &f64, 8);
		put(raw64, 8, o);
		snprintf(text, sizeof text, "%.17g", f64);
		say("f64", orders[o], text);
	}
	{
		int16_t tenths = (int16_t)(n * 13 % 900) - 450; /* -45.0 to 44.9 */
		put((uint16_t)tenths, 2, 0);
		snprintf(text, sizeof text, "%s%d.%d", tenths < 0 ? "-" : "", (tenths < 0 ? -tenths : tenths) / 10, (tenths < 0 ? -tenths : tenths) % 10);
		say("temp", "", text);
	}
	line[used++] = '}';
	line[used] = 0;
}

int main(int argc, char **argv)
{
	enum { registers = 83 };
	uint8_t query[MODBUS_RTU_MAX_ADU_LENGTH];
	uint32_t n = 0;
	modbus_t *bus = argc == 2 ? modbus_new_rtu(argv[1], 115200, 'N', 8, 1) : NULL;

	if (!bus || modbus_set_slave(bus, 1) || modbus_connect(bus) || !(map = modbus_mapping_new(0, 0, registers, 0))) {
		fprintf(stderr, "slave: %s\n", modbus_strerror(errno));
		return 1;
	}
	for (;;) {
		int whole, size = modbus_receive(bus, query);
		if (size < 0) {
			if (errno == EIO || errno == EBADF) {
				fprintf(stderr, "slave: %s\n", modbus_strerror(errno));
				return 1;
			}
			continue; /* a damaged request; 0 = for another unit */
		}
		if (size == 0)
			continue;
		whole = query[1] == 3 && query[2] == 0 && query[3] == 0 && query[4] == 0 && query[5] == registers;
		if (whole)
			fill(++n);
		if (modbus_reply(bus, query, size, map) < 0) {
			fprintf(stderr, "slave: reply: %s\n", modbus_strerror(errno));
			return 1;
		}
		if (whole) {
			puts(line);
			fflush(stdout);
		}
	}
}
