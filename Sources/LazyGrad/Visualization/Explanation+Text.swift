// What an evaluation would do, as a table for people who don't know the engine.

extension Explanation: CustomStringConvertible {
  /// The kernels, the arrays and the sums as aligned tables.
  public var description: String {
    if kernels.isEmpty { return "Nothing to do: the value is there.\n" }
    let runs = kernels.reduce(0) { $0 + $1.turns }
    var text =
      "\(count(operationCount, "recorded operation")) in \(count(runs, "kernel")), "
      + "each a pass over memory; \(isPlanKnown ? "a known plan" : "a new plan"); "
      + "\(count(threads, "thread")); "
      + (instructionSet == "portable"
        ? "portable code" : "machine code for \(instructionSet)") + "\n\n"
    text += kernelTable + "\n" + bufferTable
    if kernels.contains(where: { $0.turns > 1 }) {
      text +=
        "\ntimes: a loop, whose kernels run one after the other in every turn; bytes and flops are "
      text += "those of all turns, reads and writes those of the first\n"
    }
    if buffers.contains(where: { $0.role == .kept }) {
      text += "\nkept: computed on the way; the program holds it, or a gradient will need it\n"
    }
    let temporaries = Set(kernels.flatMap { $0.memoryRead + $0.memoryWritten }).contains {
      $0.hasPrefix("tmp")
    }
    if temporaries {
      text += "\ntmp: values between kernels, \(TextTable.grouped(Double(temporaryBytes))) bytes "
      text += "in all, which share memory where their lives don't overlap\n"
    }
    return text
  }

  private var kernelTable: String {
    var table = TextTable([
      .init(title: "kernel"), .init(title: "computes", width: 44), .init(title: "shape", width: 24),
      .init(title: "reads", width: 16), .init(title: "writes", width: 16),
      .init(title: "bytes read", isNumber: true), .init(title: "bytes written", isNumber: true),
      .init(title: "flops", isNumber: true), .init(title: "code"),
    ])
    for (k, kernel) in kernels.enumerated() {
      table.add(
        kernel.turns == 1 ? "\(k + 1)" : "\(k + 1), \(kernel.turns) times", kernel.operationList,
        kernel.shapeText,
        kernel.memoryRead.joined(separator: " "),
        kernel.memoryWritten.joined(separator: " "), TextTable.grouped(Double(kernel.bytesRead)),
        TextTable.grouped(Double(kernel.bytesWritten)), TextTable.grouped(kernel.flops),
        kernel.code.rawValue)
    }
    table.add(
      "total", "", "", "", "", TextTable.grouped(Double(bytesRead)),
      TextTable.grouped(Double(bytesWritten)), TextTable.grouped(flops), "")
    return table.text(hasSum: true)
  }

  private var bufferTable: String {
    var table = TextTable([
      .init(title: "array"), .init(title: "what"), .init(title: "shape"), .init(title: "dtype"),
      .init(title: "bytes", isNumber: true),
    ])
    for buffer in buffers {
      let what =
        buffer.role.rawValue
        + (buffer.replaces.map { ", in the memory of \($0) if that is free" } ?? "")
      table.add(
        buffer.name, what, "\(buffer.shape)", "\(buffer.dtype)",
        TextTable.grouped(Double(buffer.byteCount)))
    }
    table.add(
      "total", "", "", "", TextTable.grouped(buffers.reduce(0.0) { $0 + Double($1.byteCount) }))
    return table.text(hasSum: true)
  }

  private func count(_ n: Int, _ noun: String) -> String { n == 1 ? "1 \(noun)" : "\(n) \(noun)s" }
}

extension Explanation.Kernel {
  /// What is computed, one after the other; what comes several times in a row is counted.
  fileprivate var operationList: String {
    var runs: [(name: String, count: Int)] = []
    for operation in operations {
      if runs.last?.name == operation {
        runs[runs.count - 1].count += 1
      } else {
        runs.append((operation, 1))
      }
    }
    return runs.map { $0.count == 1 ? $0.name : "\($0.name) (\($0.count) times)" }
      .joined(separator: ", ")
  }

  fileprivate var shapeText: String {
    switch kind {
    case .loop:
      return shape[1] == 1 ? "\(shape[0])" : "\(shape[0]) x \(shape[1])"
    case .product:
      let batch = shape[0] == 1 ? "" : "\(shape[0]) of "
      let sizes = Set(depths).count == 1 ? [depths[0]] : depths
      let sum = depths.count > 1 && sizes.count == 1 ? ", \(depths.count) added" : ""
      return batch + "\(shape[1]) x \(shape[2]), over "
        + sizes.map(String.init).joined(separator: " + ") + sum
    case .move: return shape.map(String.init).joined(separator: " x ")
    }
  }
}
