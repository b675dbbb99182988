// The least that can drive the model: for `sim.bench`, to see what cocotb costs on top.
#include <chrono>
#include <cstdio>

#include "Vtop.h"
#include "verilated.h"

double sc_time_stamp() { return 0; }

int main(int argc, char** argv) {
    VerilatedContext context;
    context.commandArgs(argc, argv);
    Vtop top{&context};
    const auto eval = [&] {
        top.eval();
        context.time(top.nextTimeSlot());
    };
    for (int early = 0; early < 2; ++early) {
        top.start = 0;
        top.early = early;
        top.rst = 1;
        for (int half_cycle = 0; half_cycle < 10; ++half_cycle) eval();
        top.rst = 0;
        top.start = 1;
        const auto began = std::chrono::steady_clock::now();
        unsigned long half_cycles = 0;
        for (; !top.done; ++half_cycles) eval();
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - began;
        std::printf("%s %lu %.6f %llu %u\n", early ? "early" : "full", half_cycles / 2, seconds.count(), static_cast<unsigned long long>(top.received), top.stuck);
    }
    top.final();
}
