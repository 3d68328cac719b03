// A board behind a pseudo-terminal: clock, reset and the far end of a UART's two wires.
//
// The model's top is `board`, with ports clk, rst, rx and tx. DIVISOR is the number of clock
// cycles of a bit. Bytes that a host writes to the terminal go out on rx, bytes that come in on tx
// go to the terminal. The program writes the terminal's path to standard output and runs until
// standard input is closed or a signal ends it; then it writes what it did to standard error.

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>

#include "Vboard.h"
#include "verilated.h"

namespace {

// Cycles without a byte after which the clock slows down, so that a board that nobody uses does
// not take a processor. More than the accelerator's time limit within a frame.
constexpr uint64_t kIdleCycles = 1'000'000;
constexpr int kIdleWaitMs = 20;
constexpr int kByteCycles = 10 * DIVISOR;

volatile std::sig_atomic_t ended = 0;

int open_terminal() {
  int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0 || grantpt(terminal) || unlockpt(terminal)) return -1;
  const char *path = ptsname(terminal);
  // Kept open: without any open end on that side, reading from this one fails.
  int other = path ? open(path, O_RDWR | O_NOCTTY) : -1;
  termios settings;
  if (other < 0 || tcgetattr(other, &settings)) return -1;
  cfmakeraw(&settings);
  if (tcsetattr(other, TCSANOW, &settings)) return -1;
  if (fcntl(terminal, F_SETFL, O_NONBLOCK)) return -1;
  std::printf("%s\n", path);
  std::fflush(stdout);
  return terminal;
}

// Puts bytes on a line: one start bit, eight data bits, one stop bit.
class Sender {
 public:
  bool busy() const { return bits_ != 0; }
  void start(uint8_t byte) {
    bits_ = 0x200 | byte << 1;
    left_ = DIVISOR;
  }
  int step() {
    if (!busy()) return 1;
    int level = bits_ & 1;
    if (--left_ == 0) {
      bits_ >>= 1;
      left_ = DIVISOR;
    }
    return level;
  }

 private:
  unsigned bits_ = 0;
  int left_ = 0;
};

// Takes bytes from a line, sampling each bit in its middle.
class Receiver {
 public:
  uint64_t broken = 0;
  // Returns a byte, or -1 in most cycles.
  int step(int level) {
    if (place_ < 0) {
      if (level == 0) {
        place_ = 0;
        left_ = DIVISOR / 2;
      }
      return -1;
    }
    if (--left_) return -1;
    left_ = DIVISOR;
    if (place_++ == 0) {
      if (level) place_ = -1;
      return -1;
    }
    if (place_ <= 9) {
      byte_ = byte_ >> 1 | level << 7;
      return -1;
    }
    place_ = -1;
    if (level) return byte_;
    broken++;
    return -1;
  }

 private:
  int place_ = -1;  // -1: idle
  int left_ = 0;
  int byte_ = 0;
};

}  // namespace

int main() {
  for (int number : {SIGINT, SIGTERM}) std::signal(number, [](int) { ended = 1; });
  int terminal = open_terminal();
  if (terminal < 0) {
    std::perror("pseudo-terminal");
    return 1;
  }

  VerilatedContext context;
  Vboard board{&context};
  Sender sender;
  Receiver receiver;
  uint8_t waiting[4096];
  ssize_t first = 0, count = 0;
  uint64_t cycles = 0, last_byte = 0, bytes_in = 0, bytes_out = 0, lost = 0;
  auto started = std::chrono::steady_clock::now();

  board.rst = 1;
  while (!ended) {
    for (int step = 0; step < kByteCycles; step++) {
      if (!sender.busy() && first < count) {
        sender.start(waiting[first++]);
        bytes_in++;
        last_byte = cycles;
      }
      board.rx = sender.step();
      board.clk = 1;
      board.eval();
      board.clk = 0;
      board.eval();
      if (++cycles == 4) board.rst = 0;
      int byte = receiver.step(board.tx);
      if (byte < 0) continue;
      bytes_out++;
      last_byte = cycles;
      uint8_t sent = byte;
      // As with a real adapter, what nobody reads is lost when the buffer is full.
      if (write(terminal, &sent, 1) != 1) lost++;
    }
    if (first == count) {
      first = 0;
      count = read(terminal, waiting, sizeof waiting);
      if (count < 0) count = 0;
    }
    bool idle = cycles - last_byte > kIdleCycles;
    if (idle || cycles / kByteCycles % 1024 == 0) {
      pollfd files[] = {{0, 0, 0}, {terminal, POLLIN, 0}};
      poll(files, 2, idle ? kIdleWaitMs : 0);
      if (files[0].revents) ended = 1;
    }
  }
  std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started;
  std::fprintf(stderr,
               "%llu cycles in %.1f s; %llu bytes received, %llu sent, %llu without stop bit,"
               " %llu that nobody read\n",
               (unsigned long long)cycles, taken.count(), (unsigned long long)bytes_in,
               (unsigned long long)bytes_out, (unsigned long long)receiver.broken,
               (unsigned long long)lost);
  return 0;
}
