// The executable and the libraries that the process runs, and what their debug information says about
// addresses in memory. Uses DebugFile and what the C library knows of loaded files.

#if os(Linux) && canImport(Glibc) && _pointerBitWidth(_64)
  import Glibc

  /// A file as the process has it loaded.
  struct ProgramImage {
    /// Where it is on disk; empty if that isn't known.
    let path: String
    /// What addresses in memory are more than those in the file.
    let bias: UInt
    let segments: UnsafeRawBufferPointer

    /// Whether one of the segments that are loaded has an address.
    func contains(_ address: UInt) -> Bool {
      let loaded: UInt32 = 1
      for start in stride(from: 0, to: segments.count, by: Self.segmentSize) {
        // A header of 64-bit ELF: type, flags, offset, address, physical address, size in the file, size in
        // memory, alignment.
        let segment = UnsafeRawBufferPointer(rebasing: segments[start..<start + Self.segmentSize])
        let low = bias &+ UInt(segment.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
        let count = UInt(segment.loadUnaligned(fromByteOffset: 40, as: UInt64.self))
        if segment.loadUnaligned(as: UInt32.self) == loaded, address >= low, address - low < count {
          return true
        }
      }
      return false
    }

    private static let segmentSize = 56

    // MARK: What is loaded

    private typealias Visit =
      @convention(c) (UnsafeRawPointer?, Int, UnsafeMutableRawPointer?) -> CInt
    private typealias Iterate = @convention(c) (Visit, UnsafeMutableRawPointer?) -> CInt
    private static let iterate: Iterate? = dlsym(nil, "dl_iterate_phdr").map {
      unsafeBitCast($0, to: Iterate.self)
    }

    /// All that is loaded, the executable first.
    static func all() -> [ProgramImage] {
      var result: [ProgramImage] = []
      withUnsafeMutablePointer(to: &result) { _ = iterate?(append, UnsafeMutableRawPointer($0)) }
      return result
    }

    /// How many libraries the process has unloaded: others may be at their addresses now.
    static var unloadedCount: UInt64 {
      var result: UInt64 = 0
      withUnsafeMutablePointer(to: &result) { _ = iterate?(store, UnsafeMutableRawPointer($0)) }
      return result
    }

    // The structure is `dl_phdr_info` of <link.h>: bias, name, program headers, how many; how often files
    // were loaded, how often unloaded.

    private static let append: Visit = { info, _, result in
      guard let info, let result = result?.assumingMemoryBound(to: [ProgramImage].self),
        let headers = info.load(fromByteOffset: 16, as: UnsafeRawPointer?.self)
      else { return 0 }
      let name = info.load(fromByteOffset: 8, as: UnsafePointer<CChar>?.self)
      let count = Int(info.load(fromByteOffset: 24, as: UInt16.self))
      var path = name.map { String(cString: $0) } ?? ""
      // The executable has no name; this one works where it was replaced or moved as well.
      if result.pointee.isEmpty, path.isEmpty { path = "/proc/self/exe" }
      result.pointee.append(
        ProgramImage(
          path: path.hasPrefix("/") ? path : "", bias: info.load(as: UInt.self),
          segments: UnsafeRawBufferPointer(start: headers, count: count * segmentSize)))
      return 0
    }

    private static let store: Visit = { info, size, result in
      if let info, size >= 48 {
        result?.storeBytes(of: info.load(fromByteOffset: 40, as: UInt64.self), as: UInt64.self)
      }
      return 1
    }
  }

  /// The debug information of a file on disk.
  private final class MappedFile {
    let debug: DebugFile
    private let bytes: UnsafeRawBufferPointer

    /// nil where the file can't be read, or isn't the one that is loaded.
    init?(_ image: ProgramImage) {
      let file = open(image.path, O_RDONLY | O_CLOEXEC)
      if file < 0 { return nil }
      defer { close(file) }
      var status = stat()
      guard fstat(file, &status) == 0, status.st_size > 0, status.st_mode & S_IFMT == S_IFREG,
        let start = mmap(nil, Int(status.st_size), PROT_READ, MAP_PRIVATE, file, 0),
        start != MAP_FAILED
      else { return nil }
      bytes = UnsafeRawBufferPointer(start: start, count: Int(status.st_size))
      guard let debug = DebugFile(bytes), bytes[debug.segments].elementsEqual(image.segments) else {
        munmap(start, bytes.count)
        return nil
      }
      self.debug = debug
    }

    deinit { munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count) }
  }

  /// The units that addresses in memory were compiled in.
  struct ProgramUnits {
    private var units: [UInt: (file: MappedFile, unit: DebugUnit, address: UInt64)] = [:]

    /// Each file is opened once, and its list of units is read once, however many addresses there are.
    init(of addresses: [UInt]) {
      let images = ProgramImage.all()
      var grouped: [Int: [UInt]] = [:]
      for address in addresses {
        guard let image = images.firstIndex(where: { $0.contains(address) }) else { continue }
        grouped[image, default: []].append(address)
      }
      for (index, addresses) in grouped {
        let image = images[index]
        guard !image.path.isEmpty, let file = MappedFile(image) else { continue }
        let found = file.debug.units(of: addresses.map { UInt64($0 &- image.bias) })
        for address in addresses {
          let inFile = UInt64(address &- image.bias)
          if let unit = found[inFile] { units[address] = (file, unit, inFile) }
        }
      }
    }

    /// The name of the file that an address was compiled from.
    func name(of address: UInt) -> String? { units[address]?.unit.name }

    func innermostLine(of address: UInt) -> TensorError.Location? {
      units[address].flatMap { $0.unit.innermostLine(at: $0.address) }
    }

    func lines(of address: UInt) -> [TensorError.Location] {
      units[address].map { $0.unit.lines(at: $0.address) } ?? []
    }
  }
#endif
