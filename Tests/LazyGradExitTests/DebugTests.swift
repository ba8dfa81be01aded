// LAZYGRAD_DEBUG in processes of their own: what each level prints, and that lines stay whole.

import Foundation
import LazyGrad
import Testing

#if os(Linux) || os(macOS)
  @Suite("LAZYGRAD_DEBUG")
  struct DebugTests {
    private func lines(_ result: ExitTest.Result?) -> [String] {
      String(decoding: result?.standardErrorContent ?? [], as: UTF8.self).split(separator: "\n")
        .map(String.init)
    }

    /// One evaluation twice: a new plan, and a known one.
    static func work(_ level: String) {
      setenv("LAZYGRAD_DEBUG", level, 1)
      for _ in 0..<2 {
        let x = Tensor(NDArray.ones([1000], dtype: .float32))
        precondition((exp(x * 0) + 1).sum().item() == 2000)
      }
    }

    @Test("0 prints nothing")
    func off() async {
      let result = await #expect(
        processExitsWith: .success, observing: [\.standardErrorContent, \.standardOutputContent]
      ) { DebugTests.work("0") }
      #expect(lines(result).isEmpty)
    }

    @Test("1 prints a line for each evaluation")
    func evaluations() async {
      let result = await #expect(
        processExitsWith: .success, observing: [\.standardErrorContent, \.standardOutputContent]
      ) { DebugTests.work("1") }
      let lines = lines(result)
      #expect(lines.count == 2)
      for (line, hit) in zip(lines, ["miss", "hit"]) {
        #expect(
          line.wholeMatch(
            of: try! Regex(
              "LazyGrad: eval: 4 operations, 1 kernel, plan \(hit), [0-9]+\\.[0-9] us, "
                + "of which kernels [0-9]+\\.[0-9] us")) != nil, "\(line)")
      }
    }

    @Test("2 also prints new plans, 3 their loops")
    func plans() async {
      let second = await #expect(
        processExitsWith: .success, observing: [\.standardErrorContent]
      ) { DebugTests.work("2") }
      #expect(lines(second).count == 4)
      #expect(lines(second)[0].hasPrefix("LazyGrad: plan: "))
      #expect(lines(second)[1].contains(" multiply exp add row-sum"))
      let third = await #expect(
        processExitsWith: .success, observing: [\.standardErrorContent]
      ) { DebugTests.work("3") }
      #expect(lines(third).contains { $0.contains("= exp.float32") })
      #expect(!lines(third).contains { $0.contains("machine code") })
    }

    @Test("4 also prints machine code: all of its bytes, with offsets and the name of its loop")
    func code() async throws {
      let result = await #expect(
        processExitsWith: .success, observing: [\.standardErrorContent]
      ) { DebugTests.work("4") }
      let lines = lines(result)
      let title = try #require(lines.firstIndex { $0.hasPrefix("  k0") && !$0.contains("[") })
      if LazyGradEngine.instructionSet == "portable" {
        #expect(lines[title] == "  k0: portable")
        return
      }
      let match = lines[title].wholeMatch(of: #/ {2}k0 loop: ([0-9]+) bytes/#)
      let count = try #require(match.flatMap { Int($0.1) })
      var bytes = 0
      for line in lines[(title + 1)...] {
        guard let row = line.wholeMatch(of: #/ {6}([0-9a-f]{6}):((?: [0-9a-f]{2}){1,16})/#) else {
          break
        }
        #expect(Int(row.1, radix: 16) == bytes)
        bytes += row.2.count / 3
      }
      #expect(bytes == count)
    }

    @Test("Lines of threads stay whole")
    func threads() async {
      let result = await #expect(
        processExitsWith: .success, observing: [\.standardErrorContent]
      ) {
        setenv("LAZYGRAD_DEBUG", "3", 1)
        await withTaskGroup(of: Void.self) { group in
          for k in 1...8 {
            group.addTask {
              for n in 1...20 { tanh(Tensor.ones([100 * k + n]) * 2).sum().eval() }
            }
          }
        }
      }
      let lines = lines(result)
      #expect(lines.filter { $0.hasPrefix("LazyGrad: eval: ") }.count == 160)
      #expect(
        lines.allSatisfy {
          $0.hasPrefix("LazyGrad: eval: ") && $0.hasSuffix(" us")
            || $0.hasPrefix("LazyGrad: plan: ")
            || $0.hasPrefix("  k0 loop ") || $0.hasPrefix("      ")
        })
    }
  }
#endif
