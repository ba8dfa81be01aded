// Variables of the environment with values that can't be used: one line each, and the default.

import Foundation
import LazyGrad
import Testing

#if os(Linux) || os(macOS)
  @Suite("Environment")
  struct EnvironmentTests {
    @Test("What can't be used is said once on standard error, and the default holds")
    func problems() async {
      let result = await #expect(
        processExitsWith: .success, observing: [\.standardErrorContent]
      ) {
        for (name, value) in [
          ("THREADS", "9223372036854775807"), ("MEMORY_LIMIT", "10 apples"), ("ISA", "foo"),
          ("JIT", "perhaps"), ("MEM_GUARD", "2"), ("DEBUG", "-1"), ("WINDOW", "7"), ("CHECK", "x"),
          ("LAYOUTS", "0"), ("STALL_SECONDS", "0"), ("STALL_LIMIT", "-1"),
          ("FLUSH_DENORMALS", "y"),
        ] { setenv("LAZYGRAD_" + name, value, 1) }
        // By use, and then by asking.
        precondition((exp(Tensor([0.0])) + 1).item() == 2 && isMemoryGuardActive)
        precondition(LazyGradEngine.memoryLimit == 1 << 46)
        precondition(LazyGradEngine.threads == min(1024, allowedCores() ?? LazyGradEngine.threads))
        let names = LazyGradEngine.environmentProblems.map(\.name).sorted()
        // Whether a library can be used is found out by opening it.
        let variables = LazyGradEngine.environmentVariables.map(\.name).sorted()
        precondition(names == variables.filter { $0 != "LAZYGRAD_MPI" }, "\(names)")
        precondition(LazyGradEngine.environmentProblems.count == 12)
      }
      let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
      let lines = text.split(separator: "\n").filter { $0.hasPrefix("LazyGrad: ") }.sorted()
      let expected = """
        CHECK: expected 0 or 1, got 'x'
        DEBUG: expected a whole number from 0 to 4, got '-1'
        FLUSH_DENORMALS: expected 0 or 1, got 'y'
        ISA: expected auto, portable, avx2, avx512, neon, got 'foo'
        JIT: expected 0 or 1, got 'perhaps'
        LAYOUTS: expected a whole number from 1 to 16777216, got '0'
        MEMORY_LIMIT: expected a number of bytes, such as 500000000, 512M or 2G, got '10 apples'
        MEM_GUARD: expected 0 or 1, got '2'
        STALL_LIMIT: expected a number of seconds above 0, got '-1'
        STALL_SECONDS: expected a number of seconds above 0, got '0'
        THREADS: expected a whole number from 1 to 1024, got '9223372036854775807'
        WINDOW: expected a whole number from 8 to 16777216, got '7'
        """
      let said = expected.split(separator: "\n").map {
        "LazyGrad: LAZYGRAD_\($0); the default is used"
      }
      #expect(lines.map(String.init) == said)
    }

    @Test("What can be used is, without a word")
    func values() async {
      let result = await #expect(
        processExitsWith: .success, observing: [\.standardErrorContent]
      ) {
        for (name, value) in [
          ("THREADS", "3"), ("MEMORY_LIMIT", "10M"), ("ISA", "portable"), ("JIT", "1"),
          ("MEM_GUARD", "off"), ("DEBUG", ""),
        ] { setenv("LAZYGRAD_" + name, value, 1) }
        precondition(LazyGradEngine.environmentProblems.isEmpty)
        precondition(LazyGradEngine.threads == 3 && LazyGradEngine.memoryLimit == 10 << 20)
        precondition(LazyGradEngine.instructionSet == "portable" && !isMemoryGuardActive)
      }
      #expect(result?.standardErrorContent.isEmpty ?? false)
    }

    @Test("An instruction set that the settings forbid, and no threads at all")
    func others() async {
      let result = await #expect(
        processExitsWith: .success, observing: [\.standardErrorContent]
      ) {
        setenv("LAZYGRAD_JIT", "off", 1)
        setenv("LAZYGRAD_ISA", "sse9", 1)
        setenv("LAZYGRAD_THREADS", "0", 1)
        precondition(LazyGradEngine.instructionSet == "portable" && LazyGradEngine.threads >= 1)
        precondition(LazyGradEngine.environmentProblems.count == 2)
      }
      let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
      #expect(text.contains("LAZYGRAD_ISA: expected auto") && text.contains("got 'sse9'"))
      #expect(text.contains("LAZYGRAD_THREADS: expected") && text.contains("got '0'"))
    }
  }

  /// The cores that the process may run on, as the kernel lists them: `0-3,7`.
  private func allowedCores() -> Int? {
    guard let status = FileManager.default.contents(atPath: "/proc/self/status"),
      let line = String(decoding: status, as: UTF8.self).split(separator: "\n")
        .first(where: { $0.hasPrefix("Cpus_allowed_list:") })
    else { return nil }
    return line.split(separator: ":")[1].split(separator: ",").reduce(0) { sum, range in
      let ends = range.split(separator: "-").compactMap {
        Int($0.trimmingCharacters(in: .whitespaces))
      }
      return sum + ends.last! - ends[0] + 1
    }
  }
#endif
