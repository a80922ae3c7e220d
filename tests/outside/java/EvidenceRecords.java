import java.nio.file.Files;
import java.nio.file.Path;
import java.security.Security;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Date;
import java.util.List;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.tsp.ers.ERSByteData;
import org.bouncycastle.tsp.ers.ERSData;
import org.bouncycastle.tsp.ers.ERSDataGroup;
import org.bouncycastle.tsp.ers.ERSEvidenceRecord;

/**
 * Verifies evidence records (RFC 4998) as an archive with BouncyCastle does: that the last chain
 * covers the files and the chains before it, its last time stamp all before it, and the signature.
 *
 * Fields of a case: the record, the time to judge it at (ms since 1970), the files it is about
 * together. All but the time are paths.
 */
final class EvidenceRecords {
    private EvidenceRecords() {
    }

    public static void main(String[] arguments) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        Verdicts.answer(EvidenceRecords::check);
    }

    private static void check(String[] fields) throws Exception {
        ERSEvidenceRecord record =
            new ERSEvidenceRecord(
                read(fields[0]),
                new JcaDigestCalculatorProviderBuilder().setProvider("BC").build());
        List<ERSData> files = new ArrayList<>();
        for (String path : Arrays.asList(fields).subList(2, fields.length)) {
            files.add(new ERSByteData(read(path)));
        }
        ERSData about = files.size() == 1 ? files.get(0) : new ERSDataGroup(files);
        record.validatePresent(about, new Date(Long.parseLong(fields[1])));
        record.validate(
            new JcaSimpleSignerInfoVerifierBuilder()
                .setProvider("BC")
                .build(record.getSigningCertificate()));
    }

    private static byte[] read(String path) throws Exception {
        return Files.readAllBytes(Path.of(path));
    }
}
