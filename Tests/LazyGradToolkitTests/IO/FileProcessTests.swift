// What needs a process of its own: readers that are given damaged files with little memory, saving that is
// killed, and files that are larger than what a process may take.
//
// LAZYGRAD_FILE_FUZZ_COUNT and LAZYGRAD_FILE_FUZZ_SEED say how many damaged files each reader gets and which
// is the first, LAZYGRAD_KILL_COUNT how often saving is killed.

import Foundation
import LazyGrad
import TestSupport
import Testing

#if os(Linux) || os(macOS)
  #if canImport(Glibc)
    import Glibc
  #elseif canImport(Musl)
    import Musl
  #else
    import Darwin
  #endif

  private func setting<T: LosslessStringConvertible>(_ name: String, _ usual: T) -> T {
    ProcessInfo.processInfo.environment[name].flatMap(T.init) ?? usual
  }

  /// One after the other: what a child is to do stands in the environment.
  @Suite("Files in processes of their own", .serialized)
  struct FileProcessTests {
    @Test("Damaged files are refused, without much memory", arguments: FuzzedReader.allCases)
    func damaged(_ reader: FuzzedReader) async {
      setenv("LAZYGRAD_TEST_READER", reader.rawValue, 1)
      let result = await #expect(
        processExitsWith: .success, observing: [\.standardErrorContent, \.standardOutputContent]
      ) {
        let reader = FuzzedReader(rawValue: setting("LAZYGRAD_TEST_READER", ""))!
        // The files are a few kilobytes long, and deflated ones become at most 1,032 times as long.
        LazyGradEngine.setMemoryLimit(8 << 20)
        #if os(Linux)
          var limit = rlimit()
          let resource = __rlimit_resource_t(RLIMIT_AS.rawValue)
          let status = FileManager.default.contents(atPath: "/proc/self/statm")!
          let pages = Int(String(decoding: status, as: UTF8.self).split(separator: " ")[0])!
          getrlimit(resource, &limit)
          limit.rlim_cur = rlim_t(pages * Int(getpagesize()) + 256 << 20)
          precondition(setrlimit(resource, &limit) == 0)
        #endif
        let count = setting("LAZYGRAD_FILE_FUZZ_COUNT", 20_000)
        let counts = try FuzzCounts.run(
          reader, first: setting("LAZYGRAD_FILE_FUZZ_SEED", 1), count: count)
        print("\(reader): \(counts)")
        // Some are near enough to be read, and most are not.
        precondition(counts.read > count / 200 && counts.malformed > count / 4, "\(counts)")
      }
      if let output = result?.standardOutputContent, !output.isEmpty {
        print(String(decoding: output, as: UTF8.self), terminator: "")
      }
      if let text = result?.standardErrorContent {
        let lines = String(decoding: text, as: UTF8.self).split(separator: "\n")
        #expect(lines.last?.hasPrefix(reader.rawValue) == true, "\(lines.suffix(5))")
      }
    }

    @Test("Saving that is killed leaves the old file or the new one")
    func killed() async throws {
      let folder = FileManager.default.temporaryDirectory.appending(path: "files-\(UUID())")
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      defer { try? FileManager.default.removeItem(at: folder) }
      setenv("LAZYGRAD_TEST_FOLDER", folder.path, 1)
      for index in 0..<4 {
        try SavingTests.writers[index](Tensor.zeros([1]), "\(folder.path)/\(index)")
      }
      var last = [Double](repeating: 0, count: 4)
      var inTheMiddle = 0
      let kills = setting("LAZYGRAD_KILL_COUNT", 12)
      for kill in 0..<kills {
        setenv("LAZYGRAD_TEST_KILL", "\(kill)", 1)
        await #expect(processExitsWith: .signal(SIGKILL)) {
          let (folder, kill) = (
            setting("LAZYGRAD_TEST_FOLDER", ""), setting("LAZYGRAD_TEST_KILL", 0)
          )
          // Somebody else's signal, at a moment that nothing in here knows.
          let microseconds = UInt32.random(in: 0...250_000)
          Thread.detachNewThread {
            usleep(microseconds)
            killThisProcess()
          }
          var value = Double(kill) * 1e6
          while true {
            for index in (0..<4).shuffled() {
              value += 1
              let length = Int.random(in: 1...60_000)
              try SavingTests.writers[index](Tensor.full([length], value), "\(folder)/\(index)")
            }
          }
        }
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        inTheMiddle += names.count > 4 ? 1 : 0
        // What is left is used again.
        #expect(names.count <= 8, "\(names)")
        for index in 0..<4 {
          let file = "\(folder.path)/\(index)"
          let array =
            switch index {
            case 0: try NDArray(npy: file)
            case 1: try NPZArchive(file).array("x")
            case 2: try Tensor.load(file).array
            default: try SafeTensors(file).array("x")
            }
          let value = array[0].item()
          #expect(value >= last[index])
          #expect(array.elements(as: Double.self).allSatisfy { $0 == value })
          last[index] = value
        }
      }
      print("saving: \(kills) kills, \(inTheMiddle) in the middle of a file; last values \(last)")
      // The processes have got to save something.
      #expect(last.max()! > 1e6 || kills < 3)
    }

    @Test(
      "A file of 1 GiB is mapped: its first tensor takes milliseconds, and no memory",
      .disabled(if: Emulation.isActive, "time and what is resident are the emulator's as well"))
    func large() async {
      #if os(Linux)
        let result = await #expect(
          processExitsWith: .success, observing: [\.standardOutputContent]
        ) {
          func resident() -> Int {
            let status = FileManager.default.contents(atPath: "/proc/self/statm")!
            let pages = Int(String(decoding: status, as: UTF8.self).split(separator: " ")[1])!
            return pages * Int(getpagesize())
          }
          try withFolder { folder in
            let file = folder.path + "/large.safetensors"
            // Zeros that take no place on the disk, behind a header; the last number is another.
            let count = 1 << 28
            let header =
              #"{"first":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"#
              + #""rest":{"dtype":"F32","shape":[\#(count)],"data_offsets":[16,\#(16 + 4 * count)]}}"#
            let padded = header + String(repeating: " ", count: 8 - header.utf8.count % 8)
            let begin = ZipBuilder.word(padded.utf8.count, 8) + Array(padded.utf8)
            try Data(begin).write(to: URL(filePath: file))
            let handle = try FileHandle(forWritingTo: URL(filePath: file))
            try handle.seek(toOffset: UInt64(begin.count + 16 + 4 * count - 4))
            try handle.write(contentsOf: Data([0, 0, 0x80, 0x3F]))
            try handle.close()
            // What the library makes once.
            _ = Tensor([1.0, 2]).sum().item()
            let before = resident()
            var fastest = Duration.seconds(1)
            for _ in 0..<5 {
              let time = try ContinuousClock().measure {
                let tensors = try SafeTensors(file)
                let first = try tensors.tensor("first").elements(as: Float.self)
                precondition(first == [0, 0, 0, 0])
              }
              fastest = min(fastest, time)
            }
            let rest = try SafeTensors(file).tensor("rest", constant: true)
            precondition(rest[-1].item() == 1 && rest.count == count)
            let grown = resident() - before
            print(
              "1 GiB of safetensors: first tensor in \(fastest), \(grown >> 10) KiB more memory")
            precondition(fastest < .milliseconds(10), "\(fastest)")
            precondition(grown < 16 << 20, "\(grown)")
          }
        }
        print(String(decoding: result?.standardOutputContent ?? [], as: UTF8.self), terminator: "")
      #endif
    }
  }

  /// The end of this process, as somebody else makes it.
  private func killThisProcess() { kill(getpid(), SIGKILL) }
#endif
