// .safetensors: what is refused, what is shared, and round trips.

import Foundation
import LazyGrad
import Testing

@Suite(".safetensors")
struct SafeTensorsTests {
  private func file(_ header: String, _ data: [UInt8] = []) -> [UInt8] {
    ZipBuilder.word(header.utf8.count, 8) + Array(header.utf8) + data
  }

  private func error(_ bytes: [UInt8]) -> TensorFileError? {
    do throws(TensorFileError) {
      let file = try SafeTensors(bytes: bytes)
      for name in file.names { _ = try file.snapshot(name) }
      return nil
    } catch { return error }
  }

  private static let entry = #"{"dtype":"I32","shape":[2],"data_offsets":[0,8]}"#
  private static let eight = [UInt8](0..<8)

  @Test("Files as they may be")
  func good() throws {
    let headers = [
      #"{"a":\#(Self.entry)}"#, #"{"a":\#(Self.entry)}   "#,
      #"{ "a" :\n{"shape": [ 2 ], "data_offsets":[0 ,8],"dtype": "I32" } , "__metadata__":{}}"#
        .replacing(#"\n"#, with: "\n"),
      #"{"a":{"dtype":"I32","shape":[1,2,1],"data_offsets":[0,8]},"z":{"dtype":"F64","shape":[0,9],"data_offsets":[8,8]}}"#,
      #"{"a":{"dtype":"I\u0033\u0032","shape":[2],"data_offsets":[0,8]}}"#,
    ]
    for header in headers {
      let file = try SafeTensors(bytes: self.file(header, Self.eight))
      #expect(try file.array("a").elements(as: Int.self) == [0x0302_0100, 0x0706_0504])
    }
    #expect(try SafeTensors(bytes: file("{}")).names == [])
    let text = #"{"__metadata__":{"\"\\\/\b\f\n\r\t":"\u00e9\ud83d\ude00"}}"#
    #expect(try SafeTensors(bytes: file(text)).metadata == ["\"\\/\u{8}\u{C}\n\r\t": "é😀"])
  }

  /// What the tests of the format's own library refuse, and more of the kinds.
  @Test(
    "Headers that are not of the format",
    arguments: [
      "", "[]", "null", "{", "{}{}", "{} x", " {}", #"{"a"}"#, #"{"a":1}"#, #"{"a":{}}"#,
      #"{"a":\#(entry),}"#, #"{"a":\#(entry)"#, #"{a:\#(entry)}"#, #"{'a':\#(entry)}"#,
      #"{"a":\#(entry),"a":\#(entry)}"#,
      #"{"a":{"dtype":"I32","shape":[2]}}"#, #"{"a":{"dtype":"I32","data_offsets":[0,8]}}"#,
      #"{"a":{"shape":[2],"data_offsets":[0,8]}}"#,
      #"{"a":{"dtype":"I32","dtype":"I32","shape":[2],"data_offsets":[0,8]}}"#,
      #"{"a":{"dtype":"I32","shape":[2],"shape":[2],"data_offsets":[0,8]}}"#,
      #"{"a":{"dtype":"I32","shape":[2],"data_offsets":[0,8],"more":[[[[[]]]]]}}"#,
      #"{"a":{"dtype":32,"shape":[2],"data_offsets":[0,8]}}"#,
      #"{"a":{"dtype":"I32","shape":2,"data_offsets":[0,8]}}"#,
      #"{"a":{"dtype":"I32","shape":[-2],"data_offsets":[0,8]}}"#,
      #"{"a":{"dtype":"I32","shape":[2.0],"data_offsets":[0,8]}}"#,
      #"{"a":{"dtype":"I32","shape":[2e0],"data_offsets":[0,8]}}"#,
      #"{"a":{"dtype":"I32","shape":[02],"data_offsets":[0,8]}}"#,
      #"{"a":{"dtype":"I32","shape":["2"],"data_offsets":[0,8]}}"#,
      #"{"a":{"dtype":"I32","shape":[2,],"data_offsets":[0,8]}}"#,
      #"{"a":{"dtype":"I32","shape":[3],"data_offsets":[0,8]}}"#,
      #"{"a":{"dtype":"I32","shape":[2],"data_offsets":[0]}}"#,
      #"{"a":{"dtype":"I32","shape":[2],"data_offsets":[0,8,8]}}"#,
      #"{"a":{"dtype":"I32","shape":[2],"data_offsets":[8,0]}}"#,
      #"{"a":{"dtype":"I32","shape":[2],"data_offsets":[0,9]}}"#,
      #"{"a":{"dtype":"I32","shape":[2],"data_offsets":[0,18446744073709551615]}}"#,
      #"{"a":{"dtype":"I32","shape":[4611686018427387905,4],"data_offsets":[0,8]}}"#,
      #"{"a":{"dtype":"I32","shape":[2,18446744073709551614],"data_offsets":[0,8]}}"#,
      #"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,8]}}"#,
      // A gap before, between and behind; an overlap; the same bytes twice.
      #"{"a":{"dtype":"I32","shape":[1],"data_offsets":[4,8]}}"#,
      #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#,
      #"{"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}"#,
      #"{"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#,
      #"{"a":\#(entry),"b":\#(entry)}"#,
      #"{"__metadata__":{"a":1},"a":\#(entry)}"#, #"{"__metadata__":null,"a":\#(entry)}"#,
      #"{"__metadata__":{"a":"1","a":"2"},"a":\#(entry)}"#,
      #"{"__metadata__":{},"__metadata__":{},"a":\#(entry)}"#,
      #"{"__metadata__":{"a":{"b":"c"}},"a":\#(entry)}"#,
      "{\"a\n\":\(entry)}", #"{"\ud800":\#(entry)}"#, #"{"\ud800\u0041":\#(entry)}"#,
      #"{"\udc00":\#(entry)}"#, #"{"\u12":\#(entry)}"#, #"{"\x41":\#(entry)}"#,
      #"{"\u00e\#u{661}":\#(entry)}"#,
      #"{"a":\#(entry)}\#u{0}"#, String(repeating: "{\"a\":", count: 100_000),
      "{\"a\":" + String(repeating: "[", count: 100_000),
    ])
  func malformed(_ header: String) {
    #expect(error(file(header, Self.eight))?.reason == .malformed, "\(header.prefix(200))")
  }

  @Test("Names in two ways to write one text, and bytes that are no text")
  func names() {
    let pair =
      #"{"\#u{E9}":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"#
      + #""e\#u{301}":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#
    #expect(error(file(pair, Self.eight))?.expected == "every name once")
    var raw = file(#"{"a":\#(Self.entry)}"#, Self.eight)
    raw[10] = 0xFF
    #expect(error(raw)?.expected == "texts in UTF-8")
  }

  @Test("Types that the format has not, and more axes than arrays have")
  func unsupported() {
    let type = #"{"a":{"dtype":"I33","shape":[2],"data_offsets":[0,8]}}"#
    #expect(error(file(type, Self.eight))?.reason == .unsupported)
    let ones = [String](repeating: "1", count: 65).joined(separator: ",")
    let axes = #"{"a":{"dtype":"U8","shape":[\#(ones)],"data_offsets":[0,1]}}"#
    #expect(error(file(axes, [1]))?.reason == .unsupported)
    let truth = #"{"a":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}}"#
    #expect(error(file(truth, [0, 1])) == nil)
    #expect(error(file(truth, [0, 2]))?.expected == "truth values of 0 or 1")
  }

  @Test("Every prefix, more bytes, and lengths that are none")
  func cut() {
    let whole = file(#"{"a":\#(Self.entry)}"#, Self.eight)
    for i in 0..<whole.count { #expect(error(Array(whole[..<i]))?.reason == .malformed) }
    #expect(error(whole + [0])?.reason == .malformed)
    for length in [-1, .max, .min, 0, 1, whole.count, whole.count - 7, 100_000_001, 1 << 60] {
      #expect(error(ZipBuilder.word(length, 8) + whole[8...])?.reason == .malformed, "\(length)")
    }
    // The other byte order.
    #expect(error(Array(whole[..<8].reversed()) + whole[8...])?.reason == .malformed)
  }

  @Test("What an error says")
  func message() throws {
    #expect(
      error([1, 2, 3])?.description
        == "read bytes: expected 8 bytes with the header's length, got 3")
    let file = try SafeTensors(bytes: self.file("{}"), name: "upload")
    let error = #expect(throws: TensorFileError.self) { try file.tensor("w\n") }
    #expect(error?.reason == .notFound)
    #expect(
      error?.description
        == "read upload: 'w\\x0a': expected a tensor of that name, got a file without any")
  }

  // MARK: Shared memory

  private func address(_ array: NDArray) throws -> UInt {
    try array.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
  }

  @Test("Tensors show the file's pages, are read-only, and keep the mapping")
  func shared() throws {
    try withFolder { folder in
      let url = folder.appending(path: "x.safetensors")
      let x = NDArray.arange(1000.0).reshaped([10, 100])
      try SafeTensors.write(["x": x, "y": x.transposed()], to: url)
      var file: SafeTensors? = try SafeTensors(url)
      let (a, b) = (try file!.tensor("x"), try file!.tensor("x", constant: true))
      #expect(try address(a.array) == address(b.array))
      #expect(try address(a.array) != address(file!.array("x")))
      let snapshot = try file!.snapshot("y")
      file = nil
      try FileManager.default.removeItem(at: url)
      #expect(a.elements(as: Double.self) == x.elements(as: Double.self))
      #expect(snapshot == TensorSnapshot(x.transposed()))
      #expect(matmul(a, Tensor(sharing: snapshot)).shape == [10, 10])
      #expect(!a.array.isWriteable)
      #expect(throws: MemoryGuardError.self) { try a.array.fill(1.0) }
      #expect(throws: MemoryGuardError.self) { try a.array.setWriteable(true) }
      #expect(throws: TensorError.self) { try catchingTensorErrors { a += 1 } }
      #expect(throws: TensorError.self) { try catchingTensorErrors { a[0] = Tensor(1.0) } }
      (a * a).backward()
      #expect(a.gradient.elements(as: Double.self)[999] == 1998)
      // What is computed from it is somebody's own.
      var y = a + 0
      do {
        let z = try SafeTensors(bytes: self.file(#"{"a":\#(Self.entry)}"#, Self.eight)).tensor("a")
        y = (z + 0).cast(to: .float64)
      }
      y[0] = Tensor(7.0)
      #expect(y.elements(as: Double.self) == [7, 0x0706_0504])
    }
  }

  @Test("Elements at the very end of a page, and kernels of every kind that read them")
  func ends() throws {
    try withFolder { folder in
      let url = folder.appending(path: "x.safetensors")
      for count in [3, 505, 507, 1013, 4096] {
        // The header is made as long as it takes for the file to end with a page.
        for dtype in [DType.float32, .float64, .uint8] {
          let x = NDArray.arange(count, dtype: .int64).astype(dtype)
          let data = try x.withUnsafeBytes { [UInt8]($0) }
          let name = [DType.float32: "F32", .float64: "F64", .uint8: "U8"][dtype]!
          let header =
            #"{"x":{"dtype":"\#(name)","shape":[\#(count)],"data_offsets":[0,\#(data.count)]}}"#
          let rest = 4096 - (8 + header.utf8.count + data.count) % 4096
          let bytes = self.file(header + String(repeating: " ", count: rest), data)
          try Data(bytes).write(to: url)
          #expect(bytes.count % 4096 == 0)
          let y = try SafeTensors(url).tensor("x", constant: true)
          #expect(y.sum().item() == Tensor(x).sum().item())
          #expect(
            (y + y).elements(as: Double.self)
              == x.elements(as: Double.self).map {
                dtype == .uint8 ? Double(UInt8(truncatingIfNeeded: Int(2 * $0))) : 2 * $0
              })
          #expect(
            y.reshaped([count, 1]).T.elements(as: Double.self) == x.elements(as: Double.self))
          if dtype.isFloating {
            #expect(exp(y * 0).sum().item() == Double(count))
            #expect(dot(y, y).item() == dot(Tensor(x), Tensor(x)).item())
            #expect(y.softmaxSum == 1)
          }
        }
      }
    }
  }

  @Test("Elements that lie anywhere are copied", arguments: 0..<8)
  func unaligned(_ shift: Int) throws {
    let x = NDArray([1.5, -2.5, 3.25])
    let header = #"{"x":{"dtype":"F64","shape":[3],"data_offsets":[0,24]}}"#
    let padded = header + String(repeating: " ", count: shift)
    let file = try SafeTensors(bytes: self.file(padded, try Array(x.npyBytes().suffix(24))))
    let y = try file.tensor("x")
    #expect(y.elements(as: Double.self) == [1.5, -2.5, 3.25] && !y.array.isWriteable)
    let half =
      #"{"x":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#
      + String(repeating: " ", count: shift)
    let halves = try SafeTensors(bytes: self.file(half, [0, 0x3C, 1, 0]))
    #expect(try halves.tensor("x").elements(as: Float.self) == [1, 0x1p-24])
  }

  @Test("Half precision is exact for every number")
  func halves() throws {
    let all = (0...UInt16.max).flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] }
    let header =
      #"{"h":{"dtype":"F16","shape":[65536],"data_offsets":[0,131072]},"#
      + #""b":{"dtype":"BF16","shape":[65536],"data_offsets":[131072,262144]}}"#
    let file = try SafeTensors(bytes: self.file(header, all + all))
    let (h, b) = (try file.array("h"), try file.array("b"))
    for (i, (half, brain)) in zip(h.elements(as: Float.self), b.elements(as: Float.self))
      .enumerated()
    {
      // From the definition: sign, exponent and fraction.
      let (sign, fraction) = (i >> 15 == 0 ? 1.0 : -1.0, Double(i & 0x3FF))
      let exponent = i >> 10 & 0x1F
      let value =
        switch exponent {
        case 0: sign * fraction * 0x1p-24
        case 31: fraction == 0 ? sign * .infinity : .nan
        default:
          sign * (1 + fraction / 1024)
            * Double(sign: .plus, exponent: exponent - 15, significand: 1)
        }
      let isRight = value.isNaN ? half.isNaN : Double(half) == value && half.sign == value.sign
      if !isRight { Issue.record("half \(i): \(half), expected \(value)") }
      if brain.bitPattern != UInt32(i) << 16 { Issue.record("brain \(i)") }
    }
  }

  @Test("Round trips: types, names, metadata, none")
  func roundTrips() throws {
    try withFolder { folder in
      let url = folder.appending(path: "x.safetensors")
      var arrays: [String: NDArray] = [:]
      for dtype in DType.allCases {
        for shape in [[], [0, 2], [3], [4, 5]] {
          arrays["\(dtype) \"\(shape)\" \\ \n é 😀 \u{1}"] = NDArray.full(shape, 1, dtype: dtype)
        }
      }
      arrays[""] = NDArray([[1, 2], [3, 4]]).transposed()
      arrays["../x"] = NDArray(1.0)
      let metadata = ["a": "1", "": "\u{7F}\u{2028}", "note \"": "line\nline"]
      try SafeTensors.write(arrays, metadata: metadata, to: url)
      let file = try SafeTensors(url)
      #expect(file.metadata == metadata && Set(file.names) == Set(arrays.keys))
      for (name, array) in arrays {
        #expect(try file.snapshot(name) == TensorSnapshot(array))
        let range = try #require(file.entry(name)).byteRange
        #expect(range.lowerBound % array.dtype.size == 0)
        #expect(range.count == array.count * array.dtype.size)
      }
      try SafeTensors.write([:] as [String: Tensor], to: url)
      #expect(try SafeTensors(url).names == [])
      let error = #expect(throws: TensorFileError.self) {
        try SafeTensors.write(["__metadata__": Tensor(1.0)], to: url)
      }
      #expect(error?.reason == .notWritable)
      #expect(try SafeTensors(url).names == [])
    }
  }
}

extension Tensor {
  /// What a row of a softmax adds up to, rounded.
  fileprivate var softmaxSum: Double { (softmax(self * 0).sum().item() * 1e5).rounded() / 1e5 }
}
