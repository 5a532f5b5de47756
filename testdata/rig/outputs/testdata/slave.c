/* A Modbus slave of libmodbus, for the rig: a unit with outputs that can be looked at from outside.
 *
 * usage: slave MEMORY tcp PORT | slave MEMORY rtu DEVICE
 *
 * Unit 1 has 16 coils and 32 holding registers. They lie in the file MEMORY, which is mapped, not written: 16 bytes, one a coil, and then the
 * registers as this machine has them. What is there at the start stays, as in a unit that keeps its outputs. No other unit answers. On TCP each
 * connection is served by a child.
 */
#include <errno.h>
#include <fcntl.h>
#include <modbus/modbus.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { coils = 16, registers = 32, size = coils + 2 * registers };

static int failed(const char *what)
{
	fprintf(stderr, "slave: %s: %s\n", what, modbus_strerror(errno));
	return 1;
}

/* serve answers until the line or the connection ends. */
static int serve(modbus_t *bus, modbus_mapping_t *map, int on_tcp)
{
	uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];

	for (;;) {
		int n = modbus_receive(bus, query);

		if (n < 0 && (on_tcp || errno == EIO || errno == EBADF))
			return 0;
		if (n <= 0 || (on_tcp && query[6] != 1))
			continue; /* a damaged request, or one to another unit */
		if (modbus_reply(bus, query, n, map) < 0)
			return failed("reply");
	}
}

int main(int argc, char **argv)
{
	int on_tcp = argc == 4 && !strcmp(argv[2], "tcp"), file, listening;
	modbus_mapping_t *map = modbus_mapping_new(0, 0, 0, 0);
	modbus_t *bus = NULL;
	uint8_t *memory;

	if (argc != 4 || !map)
		return failed("usage: slave MEMORY tcp PORT | slave MEMORY rtu DEVICE");
	file = open(argv[1], O_RDWR | O_CREAT, 0600);
	if (file < 0 || ftruncate(file, size) || (memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)) == MAP_FAILED)
		return failed(argv[1]);
	map->nb_bits = coils;
	map->tab_bits = memory;
	map->nb_registers = registers;
	map->tab_registers = (uint16_t *)(memory + coils);
	if (!on_tcp) {
		bus = modbus_new_rtu(argv[3], 115200, 'N', 8, 1);
		if (!bus || modbus_set_slave(bus, 1) || modbus_connect(bus))
			return failed(argv[3]);
		return serve(bus, map, 0);
	}
	signal(SIGCHLD, SIG_IGN);
	bus = modbus_new_tcp("127.0.0.1", atoi(argv[3]));
	if (!bus || (listening = modbus_tcp_listen(bus, 4)) < 0)
		return failed(argv[3]);
	for (;;) {
		if (modbus_tcp_accept(bus, &listening) < 0)
			return failed("accept");
		if (fork() == 0) {
			close(listening);
			return serve(bus, map, 1);
		}
		close(modbus_get_socket(bus)); /* modbus_close would end the child's connection too */
	}
}
