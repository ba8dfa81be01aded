// What threads keep for their next results: bounded for all of them together, and given back when
// somebody asks. In a process of its own, whose counters and memory nobody else moves.

import Foundation
import LazyGrad
import TestSupport
import Testing

#if os(Linux)
  @Suite("The memory of threads")
  struct ThreadMemoryTests {
    /// Pages of the process that are in memory, in bytes.
    private static var residentBytes: Int {
      let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
      let pages = text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
      return pages * Int(getpagesize())
    }

    /// Makes and drops results of all sizes that a thread keeps.
    private static func fill() {
      var count = 8
      while count <= 8192 {
        let x = Tensor.ones([count], dtype: .float64, constant: true)
        let results = (0..<min(8192 / count * 4, 512)).map { _ in x + 1.0 }
        eval(results)
        count += max(count / 4, 8)
      }
    }

    /// Runs on that many threads at once, which all wait at the end until `then` has run.
    private static func onThreads(_ count: Int, then: () -> Void) {
      let (done, leave) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
      for _ in 0..<count {
        let thread = Thread {
          fill()
          done.signal()
          leave.wait()
          done.signal()
        }
        thread.start()
      }
      for _ in 0..<count { done.wait() }
      then()
      for _ in 0..<count { leave.signal() }
      for _ in 0..<count { done.wait() }
    }

    @Test(
      "Trimming takes what waiting and ended threads keep",
      .disabled(if: Emulation.isActive, "what is resident is the emulator's as well"))
    func trimming() async {
      await #expect(processExitsWith: .success) {
        LazyGradEngine.threads = 1
        Self.fill()
        LazyGradEngine.trimMemory()
        let before = Self.residentBytes
        for _ in 0..<2 {
          Self.onThreads(64) {
            LazyGradEngine.trimMemory()
            precondition(LazyGradEngine.bytesCached == 0)
            let grown = Self.residentBytes - before
            precondition(grown < 64 << 20, "waiting threads keep \(grown >> 20) MiB")
          }
        }
        usleep(100_000)
        LazyGradEngine.trimMemory()
        precondition(LazyGradEngine.bytesCached == 0)
        let grown = Self.residentBytes - before
        precondition(grown < 64 << 20, "ended threads keep \(grown >> 20) MiB")
      }
    }
  }
#endif
