// Machine code as text, for LAZYGRAD_DEBUG=4. Uses what plans keep of it, and the memory that it is in.

extension Plan {
  /// The machine code of every kernel that has any, as bytes in hexadecimal with their offsets. A
  /// disassembler reads them:
  ///
  ///     grep '^ *[0-9a-f]*: ' | sed 's/^[^:]*://' | xxd -r -p >code.bin
  ///     objdump -D -b binary -m i386:x86-64 code.bin
  ///
  /// On arm64 the machine is `aarch64`.
  package func machineCode() -> String {
    if !isRolled { return machineCode(from: 0) }
    return sectionRuns.map { $0.body.machineCode(from: sections[$0.section].firstStep) }.joined()
  }

  /// - Parameter first: The number of the first kernel.
  private func machineCode(from first: Int) -> String {
    var text = ""
    for (i, step) in steps.array.enumerated() {
      switch step {
      case .loop(let reference), .calls(let reference, _, _):
        let kernel = reference.takeUnretainedValue()
        var blocks: [(name: String, owner: AnyObject)] = []
        if let loop = kernel.nativeLoop { blocks.append(("loop", loop.routine.owner)) }
        for owner in kernel.productCode where !blocks.contains(where: { $0.owner === owner }) {
          blocks.append(("product", owner))
        }
        for (name, owner) in blocks {
          guard let block = owner as? CodeBlock else { continue }
          text += "  k\(first + i) \(name): \(block.byteCount) bytes\n" + block.listing()
        }
        if blocks.isEmpty { text += "  k\(first + i): portable\n" }
      case .move: text += "  k\(first + i): portable\n"
      }
    }
    return text
  }
}

extension CodeBlock {
  private static let digits = Array("0123456789abcdef".utf8)

  /// Sixteen bytes a line.
  fileprivate func listing() -> String {
    var text: [UInt8] = []
    for start in stride(from: 0, to: byteCount, by: 16) {
      text += "      ".utf8
      for shift in stride(from: 20, through: 0, by: -4) {
        text.append(Self.digits[start >> shift & 15])
      }
      text.append(UInt8(ascii: ":"))
      for i in start..<min(start + 16, byteCount) {
        let byte = entry.load(fromByteOffset: i, as: UInt8.self)
        text += [UInt8(ascii: " "), Self.digits[Int(byte >> 4)], Self.digits[Int(byte & 15)]]
      }
      text.append(UInt8(ascii: "\n"))
    }
    return String(decoding: text, as: UTF8.self)
  }
}
